import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useEffectEvent, useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";
import { useTranslation } from "../../lib/i18n";
import { city } from "../../api/city";
import { applyChange } from "../../api/applyChange";
import { queries } from "../../api/queries";
import type { Interaction } from "../../api/types";
import { Button, IconButton } from "../../components/ui/Button";
import { ConfirmDialog } from "../../components/ui/Dialog";
import { Icon } from "../../components/ui/Icon";
import { InlineProblem, Notice, ProblemNotice, Skeleton } from "../../components/ui/Notice";
import { useNow } from "../../hooks/useNow";
import { isComposing } from "../../lib/keys";
import { relativeTime } from "../../lib/formatTime";
import styles from "./SecondMe.module.css";
import { subscribeToClearedDraft, getPromptDraft, setPromptDraft } from "./promptDraft";
import { useEndInSight } from "./useEndInSight";
import { usePrompt, type PendingPrompt } from "./usePrompt";

/** If the part that renders Markdown cannot be loaded, the answer is shown as plain text. */
const Markdown = lazy(() => import("./Markdown").catch(() => ({ default: Plain })));

function Plain({ text }: { text: string }) {
  return <p className={styles.plain}>{text}</p>;
}

/** The shortest duration that is shown, in place of "in 0 s". */
const SHORTEST_S = 0.1;
const MAX_PROMPT_CHARS = 8_000;

interface Props {
  userId: string;
  /** A question to ask when the page opens. */
  firstPrompt?: string | undefined;
}

/** The conversation with Second Me: its history, oldest first, and the field for the next question below. */
export function SecondMeChat({ userId, firstPrompt }: Props) {
  const history = useQuery(queries.secondMeHistory(userId));
  const { asked, ask, stop, discard: forget } = usePrompt(userId);
  const [shown, setShown] = useState<string | null>(null);
  const [edited, setEdited] = useState<string | null>(null);
  const past = history.data ?? [];
  const isAnswering = asked?.state === "answering";
  const begin = (prompt: string) => {
    setShown(null);
    void ask(prompt);
  };
  const show = (id: string) => {
    setShown(id);
    document.getElementById(`exchange-${id}`)?.scrollIntoView({ block: "start", behavior: "smooth" });
  };
  useFirstPrompt(firstPrompt, begin);
  const end = useEndInSight(past.at(-1)?.id);
  return (
    <div className={styles.page}>
      <Head userId={userId} isEmpty={!past.length} onClear={forget} />
      {past.length > 0 && <Ribbon past={past} shown={shown ?? (asked ? undefined : past.at(-1)?.id)} onShow={show} />}
      {history.isPending && <Skeleton heights={[5, 8]} />}
      {history.isError && <ProblemNotice error={history.error} onRetry={() => void history.refetch()} />}
      <div className={styles.thread} aria-live="polite" aria-busy={isAnswering}>
        {past.map((interaction) => (
          <Answered
            key={interaction.id}
            interaction={interaction}
            isBusy={isAnswering}
            onAgain={() => begin(interaction.prompt)}
            onEdit={() => setEdited(interaction.prompt)}
          />
        ))}
        {asked && <Answering asked={asked} onRetry={() => begin(asked.prompt)} />}
        <div ref={end} className={styles.end} />
      </div>
      {history.data && !past.length && !asked && <Ideas onAsk={begin} />}
      <PromptField
        userId={userId}
        edited={edited}
        isAnswering={isAnswering}
        onAsk={begin}
        onStop={stop}
        onEdited={() => setEdited(null)}
      />
    </div>
  );
}

/** Ask the question that the page was opened with, once. */
function useFirstPrompt(prompt: string | undefined, ask: (prompt: string) => void): void {
  const isAsked = useRef(false);
  const begin = useEffectEvent(ask);
  useEffect(() => {
    // If the component is mounted twice, unmounting the first one aborts its request: so the request begins in a timer.
    const timer = setTimeout(() => {
      if (prompt && !isAsked.current) begin(prompt);
      isAsked.current = true;
    });
    return () => clearTimeout(timer);
  }, [prompt]);
}

function Head({ userId, isEmpty, onClear }: { userId: string; isEmpty: boolean; onClear: () => void }) {
  const { t } = useTranslation();
  const queryClient = useQueryClient();
  const [isAsking, setAsking] = useState(false);
  const { mutate, error } = useMutation({
    mutationFn: city.forgetSecondMe,
    onSuccess: async () => {
      await applyChange(queryClient, queries.secondMeHistory(userId).queryKey, () => []);
      onClear();
    },
  });
  return (
    <div className={styles.head}>
      <div>
        <h1>{t("secondMe.title")}</h1>
        <p>{t("secondMe.lead")}</p>
      </div>
      {!isEmpty && (
        <Button variant="bare" onClick={() => setAsking(true)}>
          <Icon name="bin" /> {t("secondMe.clear")}
        </Button>
      )}
      <InlineProblem error={error} />
      {isAsking && (
        <ConfirmDialog
          title={t("secondMe.clearAsk")}
          text={t("secondMe.clearText")}
          action={t("secondMe.clearDo")}
          onConfirm={() => mutate()}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  );
}

interface RibbonProps {
  past: Interaction[];
  shown: string | undefined;
  onShow: (id: string) => void;
}

function Ribbon({ past, shown, onShow }: RibbonProps) {
  const { t, language } = useTranslation();
  const now = useNow();
  const list = useRef<HTMLUListElement>(null);
  const newest = past.at(-1)?.id;
  // The newest one is added at the start: scroll anchoring of browsers would keep it out of view in a scrolled list.
  useLayoutEffect(() => {
    // Not an expression: scrollTo returns a promise in newer browsers, which React would call as the clean-up.
    list.current?.scrollTo({ left: 0 });
  }, [newest]);
  return (
    <ul ref={list} className={styles.ribbon} aria-label={t("secondMe.history")}>
      {past.toReversed().map(({ id, prompt_excerpt: excerpt, created_at: at }) => (
        <li key={id}>
          <button type="button" className={styles.past} aria-pressed={id === shown} onClick={() => onShow(id)}>
            <span dir="auto">{excerpt}</span>
            <small>{relativeTime(at, now, language)}</small>
          </button>
        </li>
      ))}
    </ul>
  );
}

interface AnsweredProps {
  interaction: Interaction;
  isBusy: boolean;
  onAgain: () => void;
  onEdit: () => void;
}

function Answered({ interaction, isBusy, onAgain, onEdit }: AnsweredProps) {
  const { t, language } = useTranslation();
  const format = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const seconds = format.format(Math.max(SHORTEST_S, interaction.latency_ms / 1000));
  return (
    <div id={`exchange-${interaction.id}`} className={styles.exchange}>
      <p className={styles.prompt} dir="auto">
        {interaction.prompt}
      </p>
      <Answer text={interaction.response} />
      <div className={styles.tools}>
        <p className={styles.note}>{t("secondMe.took", { seconds })}</p>
        <CopyAnswer text={interaction.response} />
        <IconButton icon="retry" label={t("secondMe.again")} size={16} disabled={isBusy} onClick={onAgain} />
        <IconButton icon="pencil" label={t("secondMe.edit")} size={16} onClick={onEdit} />
      </div>
    </div>
  );
}

/** A button that copies the answer. Browsers have no clipboard on pages without TLS: then there is no button. */
function CopyAnswer({ text }: { text: string }) {
  const { t } = useTranslation();
  const [isCopied, setCopied] = useState(false);
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard) return null;
  const copy = () =>
    clipboard.writeText(text).then(
      () => setCopied(true),
      () => undefined,
    );
  return (
    <IconButton
      icon={isCopied ? "check" : "copy"}
      label={t(isCopied ? "session.copied" : "session.copy")}
      size={16}
      onClick={() => void copy()}
    />
  );
}

function Answering({ asked, onRetry }: { asked: PendingPrompt; onRetry: () => void }) {
  const { t } = useTranslation();
  const exchange = useRef<HTMLDivElement>(null);
  useEffect(() => {
    exchange.current?.scrollIntoView({ block: "nearest" });
  }, [asked.prompt]);
  return (
    <div ref={exchange} className={styles.exchange}>
      <p className={styles.prompt} dir="auto">
        {asked.prompt}
      </p>
      {asked.answer ? <Answer text={asked.answer} /> : asked.state === "answering" && <Thinking />}
      {asked.state === "stopped" && <p className={styles.note}>{t("secondMe.stopped")}</p>}
      {asked.state === "failed" && <ProblemNotice error={asked.problem} onRetry={onRetry} />}
    </div>
  );
}

function Answer({ text }: { text: string }) {
  const { t } = useTranslation();
  return (
    <div className={styles.answer} dir="auto" role="group" aria-label={t("secondMe.answer")}>
      <Suspense fallback={<p>{text}</p>}>
        <Markdown text={text} />
      </Suspense>
    </div>
  );
}

function Thinking() {
  const { t } = useTranslation();
  return (
    <div className={styles.answer}>
      <span className={styles.thinking} role="img" aria-label={t("secondMe.thinking")}>
        <i />
        <i />
        <i />
      </span>
    </div>
  );
}

function Ideas({ onAsk }: { onAsk: (prompt: string) => void }) {
  const { t, list } = useTranslation();
  const ideas = list("secondMe.ideas");
  return (
    <Notice icon="sparkle" title={t("secondMe.empty")}>
      <div className={styles.ideas}>
        {ideas.map((idea) => (
          <Button key={idea} onClick={() => onAsk(idea)}>
            {idea}
          </Button>
        ))}
      </div>
    </Notice>
  );
}

interface PromptProps {
  userId: string;
  /** An earlier question to edit and ask again. */
  edited: string | null;
  isAnswering: boolean;
  onAsk: (prompt: string) => void;
  onStop: () => void;
  onEdited: () => void;
}

function PromptField({ userId, edited, isAnswering, onAsk, onStop, onEdited }: PromptProps) {
  const { t } = useTranslation();
  const [prompt, setShown] = useState(() => getPromptDraft(userId));
  const setPrompt = (text: string) => {
    setShown(text);
    setPromptDraft(userId, text);
  };
  const field = useRef<HTMLTextAreaElement>(null);
  const take = useEffectEvent((text: string) => {
    setPrompt(text);
    onEdited();
    field.current?.focus();
  });
  useEffect(() => {
    if (edited === null) return undefined;
    const frame = requestAnimationFrame(() => take(edited));
    return () => cancelAnimationFrame(frame);
  }, [edited]);
  // Another tab's question was answered: clear the draft. A draft with another text stays.
  useEffect(
    () => subscribeToClearedDraft(userId, (asked) => setShown((shown) => (shown.trim() === asked.trim() ? "" : shown))),
    [userId],
  );
  const submit = () => {
    if (!prompt.trim() || isAnswering) return;
    setShown("");
    onAsk(prompt.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    submit();
  };
  return (
    <form
      className={styles.form}
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={field}
        rows={1}
        dir="auto"
        value={prompt}
        maxLength={MAX_PROMPT_CHARS}
        aria-label={t("secondMe.inputLabel")}
        placeholder={t("secondMe.inputPlaceholder")}
        onChange={({ target }) => setPrompt(target.value)}
        onKeyDown={onKeyDown}
      />
      {isAnswering ? (
        <Button onClick={onStop}>
          <Icon name="stop" /> {t("secondMe.stop")}
        </Button>
      ) : (
        <Button variant="main" type="submit" disabled={!prompt.trim()}>
          {t("secondMe.ask")}
        </Button>
      )}
    </form>
  );
}
