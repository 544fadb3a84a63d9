import { useMemo, useSyncExternalStore } from "react";

/** An object URL of a local file while the component is mounted; null without a file, and during the first render. */
export function useObjectUrl(file: File | null): string | null {
  const source = useMemo(() => objectUrl(file), [file]);
  return useSyncExternalStore(source.subscribe, source.url);
}

function objectUrl(file: File | null) {
  let url: string | null = null;
  return {
    url: () => url,
    subscribe: () => {
      if (file) url = URL.createObjectURL(file);
      return () => {
        if (url) URL.revokeObjectURL(url);
        url = null;
      };
    },
  };
}
