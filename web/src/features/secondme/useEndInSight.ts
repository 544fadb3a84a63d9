import { useEffect, useRef } from "react";

/** Keep the end of the conversation in view when it opens and while it grows, unless the reader scrolled away from it. */
export function useEndInSight(newest: string | undefined) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (newest !== undefined) end.current?.scrollIntoView({ block: "end" });
  }, [newest]);
  useEffect(() => {
    const last = end.current;
    const thread = last?.parentElement;
    if (!last || !thread) return undefined;
    let isInSight = true;
    const sight = new IntersectionObserver((entries) => {
      isInSight = entries.at(-1)?.isIntersecting ?? isInSight;
    });
    // Answers grow as they arrive, and once more when the parts that format them are loaded. Browsers call this before `sight`.
    const growth = new ResizeObserver(() => {
      if (isInSight) last.scrollIntoView({ block: "end" });
    });
    sight.observe(last);
    growth.observe(thread);
    return () => {
      sight.disconnect();
      growth.disconnect();
    };
  }, []);
  return end;
}
