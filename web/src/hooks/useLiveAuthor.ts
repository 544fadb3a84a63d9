import type { Author } from "../api/types";
import { subjectOf } from "../lib/subjects";
import type { Profile } from "../stores/profiles";
import { useProfile } from "./useProfile";

/** The author's current profile if presence or a room has sent it, else the profile that came with the message. */
export function useLiveAuthor(author: Author): Pick<Profile, "name" | "avatarUrl" | "color"> {
  // Messages contain no colours: the colour of an agent comes with its profile.
  const known = useProfile(subjectOf(author), author.display_name);
  if (known.isLive) return known;
  return { name: author.display_name, avatarUrl: author.avatar_url, color: known.color };
}
