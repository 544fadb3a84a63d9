import { createContext, useContext, useEffect, useState } from "react";
import { useStore } from "zustand";
import { socketWorld } from "../../../lib/page";
import { usePeople } from "../../../stores/people";
import { useSession } from "../../../stores/session";
import { RoomModel, type RoomState } from "./roomModel";

/** The room that is looked at; it is opened with the component and closed with it. */
export function useRoomModel(slug: string): RoomModel {
  const token = useSession((state) => state.session?.token);
  const [model] = useState(() => openRoom(slug));

  useEffect(() => {
    model.start();
    const reconnect = () => model.reconnect();
    addEventListener("online", reconnect);
    return () => {
      removeEventListener("online", reconnect);
      model.stop();
    };
  }, [model]);

  useEffect(() => model.speakAnew(), [model, token]);

  return model;
}

function openRoom(slug: string): RoomModel {
  return new RoomModel(slug, {
    ...socketWorld,
    token: () => useSession.getState().session?.token ?? null,
    refused: (token) => useSession.getState().end(token),
    me: () => useSession.getState().session?.userId ?? null,
    meet: (authors) => usePeople.getState().meet(authors),
  });
}

export const RoomContext = createContext<RoomModel | null>(null);

export function useRoom(): RoomModel {
  const model = useContext(RoomContext);
  if (!model) throw new Error("there is no room around this");
  return model;
}

export function useRoomState<Part>(select: (state: RoomState) => Part): Part {
  return useStore(useRoom().store, select);
}
