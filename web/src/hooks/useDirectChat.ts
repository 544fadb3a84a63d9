import { useQuery } from "@tanstack/react-query";
import { queries } from "../api/queries";
import type { DirectChat } from "../api/types";
import { useSession } from "../stores/session";

/** The reader's direct chats; none of a visitor. */
export function useDirectChats(): readonly DirectChat[] | undefined {
  const userId = useSession((state) => state.session?.userId ?? null);
  return useQuery({ ...queries.directChats(userId ?? ""), enabled: userId !== null }).data;
}

/** The direct chat whose room has this id; undefined of other rooms. */
export function useDirectChat(roomId: string | undefined): DirectChat | undefined {
  return useDirectChats()?.find(({ id }) => id === roomId);
}
