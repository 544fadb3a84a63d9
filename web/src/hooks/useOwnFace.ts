import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { queries } from "../api/queries";
import { useProfiles } from "../stores/profiles";
import { useSession } from "../stores/session";

/** Store the reader's own profile: the name of the session; the chosen name, the picture and the linked account from the city. */
export function useOwnFace(): void {
  const { session, subject, setSubject } = useSession();
  const { data: me } = useQuery({ ...queries.me(session?.userId ?? ""), enabled: session !== null });
  useEffect(() => {
    if (session && subject) useProfiles.getState().addCitizen(subject, session.displayName);
  }, [session, subject]);
  useEffect(() => {
    if (me) useProfiles.getState().addMe(me);
  }, [me]);
  useEffect(() => {
    if (me) setSubject(me.user_id, me.subject);
  }, [me, setSubject]);
}
