import { lazyPart } from "../../components/lazyPart";
import { Skeleton } from "../../components/ui/Notice";

/** The picker of all emojis, in a chunk that is not part of the first load. */
export const AllEmojis = lazyPart(() => import("./EmojiPicker"), <Skeleton heights={[3, 18]} />);
