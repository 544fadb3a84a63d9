import { useEffect } from "react";
import { lazyPart } from "../../components/lazyPart";
import { usePictureViewer } from "../../stores/pictureViewer";

const PictureViewer = lazyPart(() => import("./PictureViewer"), null);

/** The viewer beside the conversation whose pictures it shows; it closes with the conversation. */
export function PictureOutlet() {
  const isOpen = usePictureViewer(({ pictures }) => pictures.length > 0);
  useEffect(() => () => usePictureViewer.getState().close(), []);
  return isOpen && <PictureViewer />;
}
