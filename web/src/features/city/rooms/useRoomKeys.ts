import { useEffectEvent, useLayoutEffect } from "react";
import { useMatch, useNavigate } from "react-router";
import type { Room } from "../../../api/types";
import { neighbour } from "./roomFilter";

/** Alt+↑ and Alt+↓ open the previous and the next room; with Shift, those with unread messages only. */
export function useRoomKeys(rooms: readonly Room[], unread: ReadonlyMap<string, number>): void {
  const navigate = useNavigate();
  const slug = useMatch("/city/:slug/*")?.params.slug ?? "";
  const onKeyDown = useEffectEvent((event: KeyboardEvent) => {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : null;
    if (step === null || !event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog:modal")) return;
    const isWanted = (room: Room) => !event.shiftKey || room.slug === slug || (unread.get(room.id) ?? 0) > 0;
    const next = neighbour(rooms.filter(isWanted), slug, step);
    event.preventDefault();
    if (next && next.slug !== slug) void navigate(`/city/${next.slug}`);
  });
  useLayoutEffect(() => {
    const listener = (event: KeyboardEvent) => onKeyDown(event);
    addEventListener("keydown", listener);
    return () => removeEventListener("keydown", listener);
  }, []);
}
