import { useEffect, type RefObject } from "react";
import { useSearchParams } from "react-router";
import { withNames } from "../../../lib/mentions";
import { useProfiles } from "../../../stores/profiles";
import { draftActions, draftOf } from "./drafts";

/** Write the mention in `?mention=`, which links on agents' pages have, into the draft once, and remove it from the URL. */
export function useMentionParam(draft: string, field: RefObject<HTMLTextAreaElement | null>, isRoom: boolean): void {
  const [search, setSearch] = useSearchParams();
  const mention = isRoom ? search.get("mention") : null;
  useEffect(() => {
    if (mention === null) return;
    const { text, editing } = draftOf(draft);
    const { text: name, mentions } = withNames(`@${mention}`, useProfiles.getState().profiles);
    if (!editing && !text.includes(name)) {
      const { write, mention: stand } = draftActions(draft);
      for (const [written, target] of Object.entries(mentions)) stand(written, target);
      write(text ? `${text.trimEnd()} ${name} ` : `${name} `);
    }
    field.current?.focus();
    setSearch(
      (now) => {
        now.delete("mention");
        return now;
      },
      { replace: true },
    );
  }, [draft, field, mention, setSearch]);
}
