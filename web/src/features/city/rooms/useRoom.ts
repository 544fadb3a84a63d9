import { createContext, useContext, useEffect, useMemo, useState } from "react";
import { useStore } from "zustand";
import { socketEnvironment } from "../../../lib/socketEnvironment";
import { outbox } from "../../../stores/outbox";
import { useProfiles } from "../../../stores/profiles";
import { useSession } from "../../../stores/session";
import type { Entry, EntryRoom } from "../../../outbox/entry";
import type { Conversation, ConversationState } from "./conversation";
import { RoomModel, type RoomState } from "./roomModel";
import type { ThreadModel } from "./threadModel";

/** The model of the open room, which starts and stops with the component. */
export function useRoomModel(slug: string): RoomModel {
  const token = useSession((state) => state.session?.token);
  const [model] = useState(() => openRoom(slug));

  useEffect(() => {
    model.start();
    const reconnect = () => model.reconnect();
    const look = () => model.onVisibilityChange();
    addEventListener("online", reconnect);
    document.addEventListener("visibilitychange", look);
    return () => {
      removeEventListener("online", reconnect);
      document.removeEventListener("visibilitychange", look);
      model.stop();
    };
  }, [model]);

  useEffect(() => model.changeReader(), [model, token]);

  return model;
}

function openRoom(slug: string): RoomModel {
  return new RoomModel(slug, {
    ...socketEnvironment,
    token: () => useSession.getState().session?.token ?? null,
    onTokenRejected: (token) => useSession.getState().expire(token),
    me: () => useSession.getState().session?.userId ?? null,
    subject: () => useSession.getState().subject,
    isShown: () => document.visibilityState !== "hidden",
    outbox,
    addAuthors: (authors, areLive) => useProfiles.getState().addAuthors(authors, areLive),
  });
}

/** The thread of a component; null for components of the room's main timeline. */
export const ThreadContext = createContext<ThreadModel | null>(null);

export const RoomContext = createContext<RoomModel | null>(null);

export function useRoom(): RoomModel {
  const model = useContext(RoomContext);
  if (!model) throw new Error("there is no room around this");
  return model;
}

export function useRoomState<Part>(select: (state: RoomState) => Part): Part {
  return useStore(useRoom().store, select);
}

/**
 * Whether the reader is a member of the room, may join by a button, or neither.
 *
 * Who was kicked or banned is told in place of the composer, with a button to join again after a kick.
 */
export function useMembership(): "member" | "joinable" | "none" {
  const me = useSession((state) => state.subject);
  return useRoomState(({ members, removal }) => {
    if (me === null) return "none";
    if (members.has(me)) return "member";
    return removal === null ? "joinable" : "none";
  });
}

/** The conversation that a component belongs to. */
export function useConversation(): Conversation {
  const thread = useContext(ThreadContext);
  const room = useRoom();
  return thread ?? room;
}

export function useConversationState<Part>(select: (state: ConversationState) => Part): Part {
  return useStore(useConversation().store, select);
}

/** The reader's outbox entries for this room, in their order; also while the room itself cannot be loaded. */
export function useRoomOutbox(): readonly Entry[] {
  const { name } = useRoom();
  const roomId = useRoomState(({ room }) => room?.id);
  const me = useSession((state) => state.session?.userId);
  const entries = useStore(outbox.store, (state) => state.entries);
  return useMemo(() => {
    const isHere = (room: EntryRoom) => (roomId === undefined ? room.slug === name || room.id === name : room.id === roomId);
    return entries.filter(({ owner, room }) => owner === me && isHere(room));
  }, [entries, me, roomId, name]);
}
