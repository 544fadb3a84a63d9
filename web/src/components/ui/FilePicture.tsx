import { useCallback } from "react";
import { Icon } from "./Icon";

/** A file that is in this browser only: a picture as it looks, any other as a sign. */
export function FilePicture({ file }: { file: File }) {
  const show = useCallback(
    (image: HTMLImageElement) => {
      const url = URL.createObjectURL(file);
      image.src = url;
      return () => URL.revokeObjectURL(url);
    },
    [file],
  );
  return file.type.startsWith("image/") ? <img ref={show} alt="" /> : <Icon name="file" />;
}
