import type { Author } from "../api/types";
import { subjectOf } from "../lib/subjects";
import { useProfiles, type Profile } from "../stores/profiles";

/** How the author of something looks now: as presence and rooms say since, else as it came with what they wrote. */
export function useLiveAuthor(author: Author): Pick<Profile, "name" | "avatarUrl" | "color"> {
  const known = useProfiles((state) => state.profiles[subjectOf(author)]);
  if (known?.isLive) return known;
  return { name: author.display_name, avatarUrl: author.avatar_url, color: known?.color ?? null };
}
