import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link } from "react-router";
import { city } from "../../api/city";
import type { Agent, Message } from "../../api/types";
import { AuthorName } from "../../components/ui/AuthorName";
import { Button } from "../../components/ui/Button";
import { InlineProblem, Skeleton } from "../../components/ui/Notice";
import { useTranslation } from "../../lib/i18n";
import { plainName } from "../../lib/names";
import { roomPath } from "../../lib/paths";
import { agentSubject } from "../../lib/subjects";
import { useSession } from "../../stores/session";
import { RichText } from "../city/rooms/RichText";
import { TypingIndicator } from "../city/rooms/TypingIndicator";
import { RoomContext, useRoom, useRoomModel, useRoomOutbox, useRoomState } from "../city/rooms/useRoom";
import styles from "./AgentAsk.module.css";

const MAX_CHARS = 8_000;

/** A question to the agent. It is sent to the direct chat with the agent, and the answers are shown below. */
export function AgentAsk({ agent }: { agent: Agent }) {
  const userId = useSession((state) => state.session?.userId ?? null);
  // The text stays when its author signs in to send it; the chat depends on who is signed in.
  const [text, setText] = useState("");
  return <Ask key={`${agent.slug} ${userId}`} agent={agent} text={text} setText={setText} />;
}

interface AskProps {
  agent: Agent;
  text: string;
  setText: (text: string) => void;
}

function Ask({ agent, text, setText }: AskProps) {
  const { t } = useTranslation();
  const queryClient = useQueryClient();
  const { session, setSignInOpen } = useSession();
  const [questions, setQuestions] = useState<readonly string[]>([]);
  const chat = useMutation({
    mutationFn: () => city.openDirectChat(agentSubject(agent.slug)),
    onSuccess: () => void queryClient.invalidateQueries({ queryKey: ["direct"] }),
  });
  const ask = () => {
    const question = text.trim();
    if (!question || chat.isPending) return;
    const add = () => {
      setQuestions((asked) => [...asked, question]);
      setText("");
    };
    if (chat.data) add();
    else chat.mutate(undefined, { onSuccess: add });
  };
  return (
    <section className={styles.ask} aria-label={t("agents.askLabel", { name: plainName(agent.display_name) })}>
      {chat.data && <Chat id={chat.data.id} questions={questions} />}
      <form
        className={styles.form}
        onSubmit={(event) => {
          event.preventDefault();
          if (session) ask();
          else setSignInOpen(true);
        }}
      >
        <input
          dir="auto"
          value={text}
          maxLength={MAX_CHARS}
          aria-label={t("agents.askLabel", { name: plainName(agent.display_name) })}
          placeholder={t("agents.askPlaceholder")}
          onChange={({ target }) => setText(target.value)}
        />
        <Button variant="main" type="submit" disabled={chat.isPending}>
          {t("agents.ask")}
        </Button>
      </form>
      <InlineProblem error={chat.error} />
    </section>
  );
}

function Chat({ id, questions }: { id: string; questions: readonly string[] }) {
  const model = useRoomModel(id);
  return (
    <RoomContext value={model}>
      <Exchange id={id} questions={questions} />
    </RoomContext>
  );
}

/** The messages of the chat since the page was opened. */
function Exchange({ id, questions }: { id: string; questions: readonly string[] }) {
  const { t } = useTranslation();
  const model = useRoom();
  const room = useRoomState((state) => state.room);
  const messages = useRoomState((state) => state.timeline.messages);
  const error = useRoomState((state) => state.error ?? state.problem);
  const waiting = useRoomOutbox();
  const sent = useRef(0);
  const isLoaded = room !== null;
  const [openedAt, setOpenedAt] = useState<number | null>(null);
  if (openedAt === null && room) setOpenedAt(room.last_seq);

  useEffect(() => {
    if (!isLoaded) return;
    while (sent.current < questions.length) {
      model.send(questions[sent.current] ?? "", null);
      sent.current += 1;
    }
  }, [model, isLoaded, questions]);

  const recent = messages.filter(({ seq, deleted }) => seq > (openedAt ?? Infinity) && !deleted);
  return (
    <>
      {!isLoaded && !error && <Skeleton heights={[3]} />}
      <ol className={styles.messages} role="log" aria-live="polite">
        {recent.map((message) => (
          <RecentMessage key={message.id} message={message} />
        ))}
        {waiting.map(({ id: entryId, action }) =>
          action.kind === "message" ? (
            <li key={entryId} className={styles.waiting} dir="auto">
              {action.body}
            </li>
          ) : null,
        )}
      </ol>
      <TypingIndicator />
      <InlineProblem error={error} />
      <p>
        <Link to={roomPath(id)}>{t("agents.openChat")}</Link>
      </p>
    </>
  );
}

function RecentMessage({ message: { author, body, formatted_body: html } }: { message: Message }) {
  return (
    <li className={author.kind === "agent" ? styles.answer : styles.question}>
      <strong>
        <AuthorName author={author} />
      </strong>
      <RichText body={body} html={html} />
    </li>
  );
}
