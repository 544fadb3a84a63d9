import { lazyPart } from "../../components/lazyPart";
import { Skeleton } from "../../components/ui/Notice";

/** The picker of all emojis, apart from the first load. */
export const AllEmojis = lazyPart(() => import("./EmojiPicker"), <Skeleton heights={[3, 18]} />);
