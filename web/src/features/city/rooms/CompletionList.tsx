import { useEffect, useImperativeHandle, useState, type KeyboardEvent, type Ref } from "react";
import { Avatar } from "../../../components/ui/Avatar";
import { Name } from "../../../components/ui/Name";
import { useProfile } from "../../../hooks/useProfile";
import { useTranslation } from "../../../lib/i18n";
import { isComplete, type Candidate, type Trigger } from "./completion";
import styles from "./CityRoomInput.module.css";
import { RoomIcon } from "./RoomIcon";
import { useCandidates } from "./useCandidates";

export interface CompletionKeys {
  /** Whether the list handled the key. */
  press: (event: KeyboardEvent) => boolean;
}

interface Props {
  id: string;
  trigger: Trigger;
  ref: Ref<CompletionKeys>;
  onChoose: (candidate: Candidate) => void;
  onClose: () => void;
  /** Called with the id of the active candidate's element; null if there is none. */
  onActive: (id: string | null) => void;
}

/** The candidates for the text before the caret; the field keeps the focus, and passes its keys to `ref`. */
export function CompletionList({ id, trigger, ref, onChoose, onClose, onActive }: Props) {
  const { t } = useTranslation();
  const candidates = useCandidates(trigger);
  const [byKey, setByKey] = useState<{ query: string; at: number } | null>(null);
  const isChosen = byKey?.query === trigger.query;
  const chosen = isChosen ? Math.min(byKey.at, candidates.length - 1) : 0;
  const activeId = candidates.length ? `${id}-${chosen}` : null;

  useEffect(() => onActive(activeId), [onActive, activeId]);
  useEffect(() => () => onActive(null), [onActive]);
  useImperativeHandle(ref, () => ({
    press: ({ key, shiftKey }) => {
      const candidate = candidates[chosen];
      if (!candidate) return false;
      const step = { ArrowDown: 1, ArrowUp: -1 }[key];
      if (step) setByKey({ query: trigger.query, at: (chosen + step + candidates.length) % candidates.length });
      else if (key === "Enter" && !isChosen && isComplete(trigger, candidates)) return false;
      else if ((key === "Enter" || key === "Tab") && !shiftKey) onChoose(candidate);
      else if (key === "Escape") onClose();
      else return false;
      return true;
    },
  }));

  if (!candidates.length) return null;
  return (
    <>
      <div id={id} role="listbox" aria-label={t("completion.label")} className={styles.completion}>
        {candidates.map((candidate, index) => (
          // The field handles the keyboard, and names the active option by `aria-activedescendant`.
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events
          <div
            key={candidate.id}
            id={`${id}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === chosen}
            // The field keeps the focus.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => onChoose(candidate)}
          >
            <Picture picture={candidate.picture} name={candidate.label} />
            <Name>{candidate.label}</Name>
            {candidate.detail && <small dir="auto">{candidate.detail}</small>}
          </div>
        ))}
      </div>
      <p className="quiet" role="status">
        {t("completion.count", { count: candidates.length })}
      </p>
    </>
  );
}

function Picture({ picture, name }: { picture: Candidate["picture"]; name: string }) {
  if (picture === null) return <span aria-hidden="true">·</span>;
  if ("emoji" in picture) return <span aria-hidden="true">{picture.emoji}</span>;
  if ("room" in picture) return <RoomIcon slug={picture.room} url={picture.url} isLit size={24} />;
  return <Face subject={picture.subject} name={name} />;
}

function Face({ subject, name }: { subject: string; name: string }) {
  return <Avatar subject={subject} profile={useProfile(subject, name)} size={24} />;
}
