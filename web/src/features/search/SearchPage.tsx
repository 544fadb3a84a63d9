import { useInfiniteQuery, useQuery, type InfiniteData, type UseInfiniteQueryResult } from "@tanstack/react-query";
import { useEffect, useId, useMemo, useState, type ReactNode } from "react";
import { Link, useSearchParams } from "react-router";
import { city } from "../../api/city";
import { queries } from "../../api/queries";
import type { SearchResult } from "../../api/types";
import { Avatar } from "../../components/ui/Avatar";
import { Button } from "../../components/ui/Button";
import { TextField } from "../../components/ui/Field";
import { Name } from "../../components/ui/Name";
import { Notice, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { useNow } from "../../hooks/useNow";
import { useEntryState } from "../../hooks/useEntryState";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useProfile } from "../../hooks/useProfile";
import { formatDateTime, localDate, relativeTime } from "../../lib/formatTime";
import { useTranslation } from "../../lib/i18n";
import { plainName } from "../../lib/names";
import { messagePath } from "../../lib/paths";
import { agentSubject, subjectOf } from "../../lib/subjects";
import { useProfiles } from "../../stores/profiles";
import { useSession } from "../../stores/session";
import card from "../../components/ui/Card.module.css";
import { filterOf, highlighted, searchParamsOf, searchOf, type MessageSearch } from "./searchAddress";
import styles from "./SearchPage.module.css";

const MAX_CHARS = 200;

/** Searches messages by words, room, author and day. The URL contains the search, so that it can be linked to. */
export default function SearchPage() {
  const { t } = useTranslation();
  const [parameters, setParameters] = useSearchParams();
  const search = searchOf(parameters);
  usePageTitle(search.q ? `${search.q} · ${t("search.title")}` : t("search.title"));
  return (
    <>
      <h1>{t("search.title")}</h1>
      <Form address={String(parameters)} onSearch={(next) => setParameters(searchParamsOf(next))} />
      {search.q.trim() ? <Results search={search} /> : <Notice icon="search" title={t("search.hint")} />}
    </>
  );
}

/** The search form. Its fields follow the URL and stay mounted, so that a search by keyboard keeps the focus. */
function Form({ address, onSearch }: { address: string; onSearch: (search: MessageSearch) => void }) {
  const { t } = useTranslation();
  const [form, setForm] = useState(() => searchOf(new URLSearchParams(address)));
  const [shownAddress, setShownAddress] = useState(address);
  if (shownAddress !== address) {
    setShownAddress(address);
    setForm(searchOf(new URLSearchParams(address)));
  }
  const set = (change: Partial<MessageSearch>) => setForm({ ...form, ...change });
  /** A choice starts the search at once if there are words already. */
  const choose = (change: Partial<MessageSearch>) => {
    set(change);
    if (form.q.trim()) onSearch({ ...form, ...change });
  };
  const { data: rooms = [] } = useQuery(queries.rooms("name"));
  const authors = useAuthors(form.author);
  const today = localDate(new Date().toISOString());
  return (
    <search>
      <form
        className={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          onSearch(form);
        }}
      >
        <div className={styles.words}>
          <TextField
            label={t("search.words")}
            type="search"
            maxLength={MAX_CHARS}
            value={form.q}
            onChange={({ target }) => set({ q: target.value })}
          />
          <Button variant="main" type="submit" disabled={!form.q.trim()}>
            {t("palette.open")}
          </Button>
        </div>
        <Select label={t("search.room")} value={form.room} onChange={(room) => choose({ room })}>
          <option value="">{t("search.anyRoom")}</option>
          {rooms.map(({ id, slug, name }) => (
            <option key={id} value={slug}>
              {plainName(name)}
            </option>
          ))}
        </Select>
        <Select label={t("search.author")} value={form.author} onChange={(author) => choose({ author })}>
          <option value="">{t("search.anyAuthor")}</option>
          {authors.map(([subject, name]) => (
            <option key={subject} value={subject}>
              {plainName(name)}
            </option>
          ))}
        </Select>
        <TextField
          label={t("search.after")}
          type="date"
          max={form.before || today}
          value={form.after}
          onChange={({ target }) => choose({ after: target.value })}
        />
        <TextField
          label={t("search.before")}
          type="date"
          min={form.after}
          max={today}
          value={form.before}
          onChange={({ target }) => choose({ before: target.value })}
        />
      </form>
    </search>
  );
}

interface SelectProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  children: ReactNode;
}

function Select({ label, value, onChange, children }: SelectProps) {
  const id = useId();
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={({ target }) => onChange(target.value)}>
        {children}
      </select>
    </div>
  );
}

/** The authors whose names the pages know: the reader first, then the others by name. */
function useAuthors(chosen: string): [string, string][] {
  const { t, language } = useTranslation();
  const me = useSession((state) => state.subject);
  const profiles = useProfiles((state) => state.profiles);
  const { data: agents = [] } = useQuery(queries.agents);
  return useMemo(() => {
    const names = new Map(Object.entries(profiles).map(([subject, { name }]) => [subject, name]));
    for (const agent of agents) names.set(agentSubject(agent.slug), agent.display_name);
    if (chosen && !names.has(chosen)) names.set(chosen, chosen);
    const others = [...names].filter(([subject]) => subject !== me).sort(([, a], [, b]) => a.localeCompare(b, language));
    return me === null ? others : [[me, t("search.me")], ...others];
  }, [agents, profiles, chosen, me, language, t]);
}

function Results({ search }: { search: MessageSearch }) {
  const { t, language } = useTranslation();
  const now = useNow();
  const isSignedIn = useSession((state) => state.session !== null);
  const filter = filterOf(search);
  const found = useInfiniteQuery({
    queryKey: ["search", "page", search.q, filter, isSignedIn],
    queryFn: ({ pageParam, signal }) => city.search(search.q, filter, pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next_cursor: next }) => next,
    retry: false,
  });
  const showMore = useShownPages(JSON.stringify(search), found);
  const results = useMemo(() => found.data?.pages.flatMap((page) => page.results) ?? [], [found.data]);
  useEffect(() => useProfiles.getState().addAuthors(results.map(({ message }) => message.author)), [results]);
  if (found.isPending) return <Skeleton heights={[5, 5, 5]} />;
  if (found.isError && !results.length) return <ProblemNotice error={found.error} onRetry={() => void found.refetch()} />;
  const isPartial = found.data?.pages.some((page) => !page.complete) ?? false;
  return (
    <>
      <p className={styles.count} role="status">
        {results.length === 0
          ? t("search.none")
          : t(found.hasNextPage ? "search.countMore" : "search.count", { count: results.length })}
        {isPartial && `${results.length ? " ·" : ""} ${t("search.partial")}`}
      </p>
      <ol className={styles.results}>
        {results.map((result) => (
          <Result key={result.message.id} result={result} now={now} language={language} />
        ))}
      </ol>
      {found.hasNextPage && (
        <p className={styles.more}>
          <Button disabled={found.isFetchingNextPage} onClick={showMore}>
            {t("search.more")}
          </Button>
        </p>
      )}
    </>
  );
}

type Pages = Pick<
  UseInfiniteQueryResult<InfiniteData<unknown>>,
  "data" | "fetchNextPage" | "hasNextPage" | "isFetching" | "isFetchNextPageError"
>;

/** Load as many pages of a search as the reader has seen at this history entry. Returns what shows one more. */
function useShownPages(key: string, { data, fetchNextPage, hasNextPage, isFetching, isFetchNextPageError }: Pages): () => void {
  const [asked, setAsked] = useEntryState("search.pages", { key, pages: 1 });
  const loaded = data?.pages.length ?? 0;
  const isNext = loaded > 0 && asked.key === key && asked.pages > loaded && hasNextPage && !isFetching && !isFetchNextPageError;
  useEffect(() => {
    if (isNext) void fetchNextPage();
  }, [isNext, loaded, fetchNextPage]);
  return () => {
    setAsked({ key, pages: loaded + 1 });
    void fetchNextPage();
  };
}

function Result({ result, now, language }: { result: SearchResult; now: number; language: string }) {
  const { message, room, excerpt, highlights } = result;
  const subject = subjectOf(message.author);
  const profile = useProfile(subject, message.author.display_name);
  return (
    <li className={`${card.card} ${styles.result}`}>
      <Avatar subject={subject} profile={profile} size={40} />
      <div>
        <p className={styles.about}>
          <strong>
            <Name>{message.author.display_name}</Name>
          </strong>{" "}
          · <Name>{room.name}</Name> ·{" "}
          <time dateTime={message.created_at} title={formatDateTime(message.created_at, language)}>
            {relativeTime(message.created_at, now, language)}
          </time>
        </p>
        <Link className={`${card.link} ${styles.excerpt}`} to={messagePath(room.slug, message.id)} dir="auto">
          {highlighted(excerpt, highlights).map(({ text, isFound }, index) =>
            isFound ? <mark key={index}>{text}</mark> : <span key={index}>{text}</span>,
          )}
        </Link>
      </div>
    </li>
  );
}
