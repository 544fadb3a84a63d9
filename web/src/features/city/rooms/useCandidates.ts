import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { queries } from "../../../api/queries";
import { useTranslation } from "../../../lib/i18n";
import { kindOf, subjectOf } from "../../../lib/subjects";
import { useProfiles } from "../../../stores/profiles";
import { useSession } from "../../../stores/session";
import type { EmojiRow } from "../../emoji/emojiData";
import { matching, type Candidate, type Trigger } from "./completion";
import { useConversationState, useRoomState } from "./useRoom";

/** The candidates for a trigger, best first. */
export function useCandidates(trigger: Trigger): Candidate[] {
  const all = { "@": useNamed, "#": useRooms, ":": useEmojis, "/": useCommands }[trigger.sign]();
  return useMemo(() => matching(all, trigger.query), [all, trigger.query]);
}

/** People who are in the room or have written in it, all agents, and the room itself. */
function useNamed(): Candidate[] {
  const { t } = useTranslation();
  const me = useSession((state) => state.subject);
  const members = useRoomState((state) => state.members);
  const messages = useConversationState((state) => state.timeline.messages);
  const profiles = useProfiles((state) => state.profiles);
  const { data: agents = [] } = useQuery(queries.agents);
  return useMemo(() => {
    // The authors of the newest messages come first.
    const subjects = new Set([...messages.map(({ author }) => subjectOf(author)).reverse(), ...members]);
    const people = [...subjects].flatMap((subject): Candidate[] => {
      const profile = profiles[subject];
      if (!profile?.matrixId || subject === me || kindOf(subject) === "agent") return [];
      const { name, matrixId } = profile;
      return [{ id: subject, label: name, detail: "", insert: `@${name}`, target: matrixId, picture: { subject } }];
    });
    const called = agents.map(({ slug, display_name: name, title }): Candidate => {
      const subject = `agent:${slug}`;
      return {
        id: subject,
        label: name,
        detail: [slug, title].filter(Boolean).join(" "),
        insert: `@${slug}`,
        picture: { subject },
      };
    });
    const everybody: Candidate = { id: "room", label: "room", detail: t("completion.everybody"), insert: "@room", picture: null };
    return [...people, ...called, everybody];
  }, [me, members, messages, profiles, agents, t]);
}

function useRooms(): Candidate[] {
  const { data: rooms = [] } = useQuery(queries.rooms("recent"));
  return useMemo(
    () =>
      rooms.map(({ id, slug, name, avatar_url: url, matrix_room_alias: alias }): Candidate => ({
        id,
        label: name,
        detail: slug,
        insert: `#${name}`,
        target: alias,
        picture: { room: slug, url },
      })),
    [rooms],
  );
}

const NO_EMOJIS: Candidate[] = [];

/** All emojis, by their English shortcodes and Ukrainian names; loaded on first use. */
function useEmojis(): Candidate[] {
  const { language } = useTranslation();
  const [emojis, setEmojis] = useState<readonly EmojiRow[]>([]);
  useEffect(() => {
    let isShown = true;
    import("../../../lib/emojis.json").then(
      ({ default: loaded }) => isShown && setEmojis(loaded as unknown as readonly EmojiRow[]),
      () => undefined,
    );
    return () => {
      isShown = false;
    };
  }, []);
  return useMemo(() => {
    if (!emojis.length) return NO_EMOJIS;
    return emojis.map(([emoji, codes, ukrainian]): Candidate => {
      const code = codes.split(" ")[0] ?? "";
      const [label, detail] =
        language === "uk" ? [ukrainian || code, codes] : [code.replaceAll("_", " "), `${codes} ${ukrainian}`];
      return { id: emoji, label, detail, insert: emoji, picture: { emoji } };
    });
  }, [emojis, language]);
}

function useCommands(): Candidate[] {
  const { t } = useTranslation();
  return useMemo(() => [{ id: "me", label: "me", detail: t("completion.me"), insert: "/me", picture: null }], [t]);
}
