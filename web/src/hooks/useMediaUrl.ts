import { useEffect, useRef, useState } from "react";
import { fetchBlobUrl } from "../api/upload";

/** Where reading takes a token an `<img>` is refused: then it is fetched with one. */
export function useMediaUrl(url: string, onBroken: () => void): { src: string; onError: () => void } {
  const [fetched, setFetched] = useState<{ of: string; src: string } | null>(null);
  const isTried = useRef<string | null>(null);
  useEffect(() => (fetched ? () => URL.revokeObjectURL(fetched.src) : undefined), [fetched]);
  return {
    src: fetched?.of === url ? fetched.src : url,
    onError: () => {
      if (isTried.current === url) {
        onBroken();
        return;
      }
      isTried.current = url;
      fetchBlobUrl(url).then((src) => setFetched({ of: url, src }), onBroken);
    },
  };
}
