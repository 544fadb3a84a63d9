import type { Author } from "../api/types";
import { subjectOf } from "../lib/subjects";
import type { Profile } from "../stores/profiles";
import { useProfile } from "./useProfile";

/** How the author of something looks now: as presence and rooms say since, else as it came with what they wrote. */
export function useLiveAuthor(author: Author): Pick<Profile, "name" | "avatarUrl" | "color"> {
  // Messages carry no colours: that of an agent comes with its profile.
  const known = useProfile(subjectOf(author), author.display_name);
  if (known.isLive) return known;
  return { name: author.display_name, avatarUrl: author.avatar_url, color: known.color };
}
