import type { Author } from "../../api/types";
import { useLiveAuthor } from "../../hooks/useLiveAuthor";
import { Name } from "./Name";

/** What the author of something is called now. */
export function AuthorName({ author }: { author: Author }) {
  return <Name>{useLiveAuthor(author).name}</Name>;
}
