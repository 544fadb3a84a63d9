import type { CSSProperties } from "react";
import { useQuery } from "@tanstack/react-query";
import { lazyPart } from "../../../components/lazyPart";
import { queries } from "../../../api/queries";
import { useLinkPreviews } from "../../../stores/linkPreviews";
import { useSession } from "../../../stores/session";
import { useRoomState } from "./useRoom";

/** The size of the card from the first render on, so that nothing moves when the preview arrives. */
const PLACE: CSSProperties = { blockSize: "6rem", marginBlockStart: "var(--s-2)" };

const LinkCard = lazyPart(() => import("./LinkCard"), <div style={PLACE} />);

/** The preview of a message's link. Encrypted rooms have none; the city and the reader must have turned previews on. */
export function LinkPreview({ url }: { url: string }) {
  const isOffered = useQuery(queries.site).data?.url_previews ?? false;
  const isOn = useLinkPreviews((state) => state.isOn);
  const isSignedIn = useSession((state) => state.session !== null);
  const isEncrypted = useRoomState((state) => state.room?.encrypted ?? true);
  return isOffered && isOn && isSignedIn && !isEncrypted && <LinkCard key={url} url={url} place={PLACE} />;
}
