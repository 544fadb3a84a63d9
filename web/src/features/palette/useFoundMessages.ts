import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { queries } from "../../api/queries";
import { useDirectChats } from "../../hooks/useDirectChat";
import { plainName } from "../../lib/names";
import { messagePath } from "../../lib/paths";
import { useTranslation } from "../../lib/i18n";
import { searchPath } from "../search/searchAddress";
import type { PaletteItem } from "./paletteModel";

/** The search request is sent after this pause in the input; milliseconds. */
const PAUSE_MS = 250;
/** The city does not search for shorter texts. */
const MIN_CHARS = 2;

const NOTHING: PaletteItem[] = [];

/** Messages with `searchText` in their text, newest first. */
export function useFoundMessages(searchText: string): { items: PaletteItem[]; isSearching: boolean } {
  const text = searchText.trim();
  const [asked, setAsked] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const chats = useDirectChats();
  // The room of a direct chat has no name of its own: the partner's is shown.
  const partners = useMemo(() => new Map(chats?.map(({ id, citizen }) => [id, citizen.display_name])), [chats]);
  const isLong = text.length >= MIN_CHARS;
  const { data, isFetching } = useQuery(queries.search(asked.length >= MIN_CHARS ? asked : "", null));
  const { t } = useTranslation();
  const isAnswer = data !== undefined && isLong && asked === text && data.results.length > 0;
  const items = isAnswer
    ? [
        ...data.results.map(({ message, room, excerpt }): PaletteItem => ({
          id: `message ${message.id}`,
          group: "messages",
          name: excerpt,
          detail: `${plainName(message.author.display_name)} · ${plainName(partners.get(room.id) ?? room.name)}`,
          path: messagePath(room.slug, message.id),
        })),
        {
          id: "messages",
          group: "messages",
          name: t("search.all", { words: text }),
          detail: "",
          path: searchPath(text),
        } as const,
      ]
    : NOTHING;
  return { items, isSearching: isLong && (isFetching || asked !== text) };
}
