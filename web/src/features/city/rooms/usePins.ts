import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { city } from "../../../api/city";
import { queries } from "../../../api/queries";
import type { Message } from "../../../api/types";
import { useRoom, useRoomState } from "./useRoom";

/** The pinned messages of the room, the newest pin first. They follow pins on Matrix, edits and deletions. */
export function usePins(): readonly Message[] {
  const model = useRoom();
  const queryClient = useQueryClient();
  const roomId = useRoomState(({ room }) => room?.id ?? "");
  const hasPins = useRoomState(({ room }) => (room?.pins ?? 0) > 0);
  const { data } = useQuery({ ...queries.pins(roomId), enabled: hasPins });
  useEffect(() => {
    const key = queries.pins(roomId).queryKey;
    const refresh = () => void queryClient.invalidateQueries({ queryKey: key });
    return model.subscribe({
      onLoaded: refresh,
      onMessage: ({ id }) => queryClient.getQueryData(key)?.some((pinned) => pinned.id === id) && refresh(),
      onEvent: ({ event }) => event === "city.room.updated" && refresh(),
    });
  }, [model, queryClient, roomId]);
  return hasPins ? (data ?? NONE) : NONE;
}

const NONE: readonly Message[] = [];

/** Whether a message is pinned, and how to change that. */
export function usePin(messageId: string) {
  const { name } = useRoom();
  const queryClient = useQueryClient();
  const roomId = useRoomState(({ room }) => room?.id ?? "");
  const hasPins = useRoomState(({ room }) => (room?.pins ?? 0) > 0);
  const { data } = useQuery({ ...queries.pins(roomId), enabled: hasPins });
  return {
    isPinned: hasPins && (data?.some(({ id }) => id === messageId) ?? false),
    setPinned: async (isPinned: boolean) => {
      await city.pin(name, messageId, isPinned);
      await queryClient.invalidateQueries({ queryKey: queries.pins(roomId).queryKey });
    },
  };
}
