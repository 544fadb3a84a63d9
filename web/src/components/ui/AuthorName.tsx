import type { Author } from "../../api/types";
import { useLiveAuthor } from "../../hooks/useLiveAuthor";
import { Name } from "./Name";

/** The current name of an author. */
export function AuthorName({ author }: { author: Author }) {
  return <Name>{useLiveAuthor(author).name}</Name>;
}
