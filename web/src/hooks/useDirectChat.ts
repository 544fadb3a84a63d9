import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";
import { city } from "../api/city";
import { queries } from "../api/queries";
import type { DirectChat } from "../api/types";
import { roomPath } from "../lib/paths";
import { useSession } from "../stores/session";

/** The reader's direct chats; undefined for a visitor. */
export function useDirectChats(): readonly DirectChat[] | undefined {
  const userId = useSession((state) => state.session?.userId ?? null);
  return useQuery({ ...queries.directChats(userId ?? ""), enabled: userId !== null }).data;
}

/** The direct chat whose room has this id; undefined for other rooms. */
export function useDirectChat(roomId: string | undefined): DirectChat | undefined {
  return useDirectChats()?.find(({ id }) => id === roomId);
}

/** Open the direct chat with `citizen:<id>` or `agent:<slug>`, which is created if there is none yet. */
export function useOpenDirectChat(onOpen?: () => void) {
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: (other: string) => city.openDirectChat(other),
    onSuccess: ({ id }) => {
      void queryClient.invalidateQueries({ queryKey: ["direct"] });
      onOpen?.();
      void navigate(roomPath(id));
    },
  });
}
