import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useEffect, useEffectEvent, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { useNavigate } from "react-router";
import { queries } from "../../api/queries";
import { Avatar } from "../../components/ui/Avatar";
import { IconButton } from "../../components/ui/Button";
import { Icon, type IconName } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { useCitizenNames } from "../../hooks/useCitizenNames";
import { useOverlay } from "../../hooks/useOverlay";
import { useSubjectsHere } from "../../hooks/useSubjectsHere";
import { useTranslation } from "../../lib/i18n";
import { isComposing } from "../../lib/keys";
import { kindOf } from "../../lib/subjects";
import { usePalette } from "../../stores/palette";
import { useStatus } from "../../stores/presence";
import { useProfileCard } from "../../stores/profileCard";
import { useProfile } from "../../hooks/useProfile";
import { useProfiles } from "../../stores/profiles";
import { RoomIcon } from "../city/rooms/RoomIcon";
import styles from "./Palette.module.css";
import { paletteItems, type PaletteItem } from "./paletteModel";
import { useFoundMessages } from "./useFoundMessages";

const GROUPS = ["rooms", "people", "agents", "pages", "messages"] as const;

/** Finds rooms, people, agents, pages and messages by a text. A combobox: arrows select, Enter opens, Escape closes. */
export default function Palette({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const dialog = useRef<HTMLDialogElement>(null);
  useOverlay(onClose);
  const [query, setQuery] = useState(() => usePalette.getState().early);
  const [chosen, setChosen] = useState(0);
  const [isEntered, setEntered] = useState(() => usePalette.getState().isEnteredEarly);
  const listId = useId();
  const searchText = useDeferredValue(query);
  const { sources, isComingBefore } = useSources();
  const named = useMemo(() => paletteItems(searchText, sources), [searchText, sources]);
  const { items: messages, isSearching } = useFoundMessages(searchText);
  const items = useMemo(() => [...named, ...messages], [named, messages]);
  const open = useOpen(onClose);
  const at = Math.min(chosen, items.length - 1);
  const item = items[at];
  const isFound = searchText === query && !(item ? isComingBefore(item.group) : isSearching || isComingBefore("messages"));
  const openChosen = useEffectEvent(() => {
    if (item) open(item);
  });

  useEffect(() => {
    const shown = dialog.current;
    if (shown && !shown.open) shown.showModal();
    return () => shown?.close();
  }, []);
  useEffect(() => {
    document.getElementById(`${listId}-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [listId, at]);

  // Enter follows the last letter sooner than what is found for it.
  useEffect(() => {
    if (isEntered && isFound) openChosen();
  }, [isEntered, isFound]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (isComposing(event)) return;
    setEntered(event.key === "Enter" && !isFound);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 8, PageUp: at - 8 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      const isPage = event.key.startsWith("Page");
      setChosen(isPage ? Math.max(0, Math.min(items.length - 1, next)) : (next + items.length) % Math.max(1, items.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (item && isFound) open(item);
    }
  };

  return (
    // A click on the backdrop closes the dialog with a mouse; Escape and the button work for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={dialog}
      className={styles.palette}
      aria-label={t("palette.title")}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className={styles.field}>
        <Icon name="search" />
        <input
          role="combobox"
          dir="auto"
          aria-label={t("palette.title")}
          aria-expanded={items.length > 0}
          aria-controls={listId}
          aria-autocomplete="list"
          aria-activedescendant={items.length ? `${listId}-${at}` : undefined}
          placeholder={t("palette.placeholder")}
          value={query}
          onChange={({ target }) => {
            setQuery(target.value);
            setChosen(0);
            setEntered(false);
          }}
          onKeyDown={onKeyDown}
        />
        <kbd aria-hidden="true">Esc</kbd>
        <IconButton icon="close" label={t("common.close")} className={styles.close ?? ""} onClick={onClose} />
      </div>
      <div id={listId} role="listbox" aria-label={t("palette.found")} className={styles.list}>
        {GROUPS.map((group) => {
          const shown = items.flatMap((item, index) => (item.group === group ? [{ item, index }] : []));
          if (!shown.length) return null;
          return (
            <div key={group} role="group" aria-labelledby={`${listId}-${group}`}>
              <p id={`${listId}-${group}`} className={styles.group}>
                {t(`palette.${group}`)}
              </p>
              {shown.map(({ item, index }) => (
                <Option key={item.id} id={`${listId}-${index}`} item={item} isChosen={index === at} onOpen={open} />
              ))}
            </div>
          );
        })}
      </div>
      <p className={items.length ? "quiet" : styles.none} role="status">
        {isSearching ? t("palette.searching") : items.length ? t("palette.count", { count: items.length }) : t("palette.none")}
      </p>
    </dialog>
  );
}

interface OptionProps {
  id: string;
  item: PaletteItem;
  isChosen: boolean;
  onOpen: (item: PaletteItem) => void;
}

function Option({ id, item, isChosen, onOpen }: OptionProps) {
  return (
    // The field handles the keyboard, and names the active option by `aria-activedescendant`.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events
    <div id={id} role="option" tabIndex={-1} aria-selected={isChosen} className={styles.option} onClick={() => onOpen(item)}>
      <Picture item={item} />
      <span className={styles.name}>
        <Name>{item.name}</Name>
      </span>
      {item.detail && (
        <small className={styles.detail} dir="auto">
          {item.detail}
        </small>
      )}
    </div>
  );
}

/** The same icons as in the navigation. */
const PAGE_ICONS: Readonly<Record<string, IconName>> = {
  "/city": "rooms",
  "/agents": "agents",
  "/secondme": "me",
  "/places": "place",
  "/search": "search",
};

function Picture({ item }: { item: PaletteItem }) {
  if (item.subject) return <Face subject={item.subject} name={item.name} />;
  if (item.group === "rooms") {
    return <RoomIcon slug={item.path?.slice("/city/".length) ?? ""} url={item.picture} isLit size={28} />;
  }
  return <Icon name={item.group === "messages" ? "rooms" : (PAGE_ICONS[item.path ?? ""] ?? "home")} size={24} />;
}

function Face({ subject, name }: { subject: string; name: string }) {
  const profile = useProfile(subject, name);
  const status = useStatus(subject);
  return <Avatar subject={subject} profile={profile} size={28} status={status} />;
}

/** The data that the palette searches: data that the pages have already, and lists that are loaded when it opens. */
function useSources() {
  const { t } = useTranslation();
  const roomsQuery = useQuery(queries.rooms("recent"));
  const agentsQuery = useQuery(queries.agents);
  const { data: rooms } = roomsQuery;
  const { data: agents } = agentsQuery;
  const here = useSubjectsHere();
  const profiles = useProfiles((state) => state.profiles);
  const online = useMemo(() => [...here], [here]);
  useCitizenNames(online);
  const sources = useMemo(() => {
    const people = Object.entries(profiles)
      .filter(([subject]) => kindOf(subject) !== "agent")
      .map(([subject, { name }]) => ({ subject, name }));
    const pages = [
      { name: t("nav.home"), path: "/" },
      { name: t("rooms.title"), path: "/city" },
      { name: t("agents.title"), path: "/agents" },
      { name: t("nav.secondMe"), path: "/secondme" },
      { name: t("places.title"), path: "/places" },
      { name: t("search.title"), path: "/search" },
    ];
    return { pages, rooms: rooms ?? [], agents: agents ?? [], people };
  }, [rooms, agents, profiles, t]);
  const areRoomsComing = isComing(roomsQuery);
  const areAgentsComing = isComing(agentsQuery);
  /** Whether a result may still come before those of a group, so that the first result is not the final one. */
  const isComingBefore = (group: PaletteItem["group"]) =>
    areRoomsComing || (areAgentsComing && group !== "rooms" && group !== "people");
  return { sources, isComingBefore };
}

/** Whether a list may come soon: after a failure nobody waits for it. */
function isComing(query: { isPending: boolean; failureCount: number }): boolean {
  return query.isPending && query.failureCount === 0;
}

function useOpen(onClose: () => void): (item: PaletteItem) => void {
  const navigate = useNavigate();
  const showCard = useProfileCard((state) => state.show);
  return ({ path, subject }) => {
    onClose();
    if (path !== undefined) void navigate(path);
    else if (subject !== undefined) showCard(subject);
  };
}
