import { useCallback } from "react";
import { Icon } from "./Icon";

/** A preview of a local file: an image as it looks, any other file as an icon. */
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
