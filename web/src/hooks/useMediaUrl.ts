import { useEffect, useRef, useState } from "react";
import { fetchBlobUrl } from "../api/upload";

/** The URL of a file for an `<img>`. If the city refuses it without a token, the file is fetched with the token. */
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
