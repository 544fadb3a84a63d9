import type { CSSProperties, ReactNode } from "react";
import { useTranslation } from "../../lib/i18n";
import { Problem } from "../../api/problem";
import { usePageTitle } from "../../hooks/usePageTitle";
import { useProblemText } from "../../hooks/useProblemText";
import { Button, ButtonLink } from "./Button";
import { Icon, type IconName } from "./Icon";
import styles from "./Notice.module.css";

/** A notice where there is nothing else to show. */
export function Notice({ icon, title, children }: { icon: IconName; title?: string; children?: ReactNode }) {
  return (
    <div className={styles.notice}>
      <Icon name={icon} size={44} />
      {title && <p className={styles.title}>{title}</p>}
      {children}
    </div>
  );
}

interface ProblemProps {
  error: unknown;
  onRetry?: () => void;
  /** Whether the page shows nothing but this notice. */
  isPage?: boolean;
}

/** The notice for a page, or a part of it, that could not be loaded. */
export function ProblemNotice({ error, onRetry, isPage = false }: ProblemProps) {
  const { t } = useTranslation();
  const text = useProblemText();
  if (isPage && error instanceof Problem && error.status === 404) return <MissingNotice words={text(error)} />;
  return (
    <div role="alert">
      <Notice icon="alert" {...(isPage ? {} : { title: t("problem.title") })}>
        {isPage && <h1>{t("problem.title")}</h1>}
        <p>{text(error)}</p>
        {onRetry && <Button onClick={onRetry}>{t("common.retry")}</Button>}
      </Notice>
    </div>
  );
}

/** The notice for a page whose subject does not exist: a retry would not help. */
function MissingNotice({ words }: { words: string }) {
  const { t } = useTranslation();
  usePageTitle(words);
  return (
    <div role="alert">
      <Notice icon="search">
        <h1>{words}</h1>
        <p>{t("notFound.text")}</p>
        <p className={styles.ways}>
          <ButtonLink to="/city" look="main">
            {t("home.allRooms")}
          </ButtonLink>
          <ButtonLink to="/">{t("notFound.home")}</ButtonLink>
        </p>
      </Notice>
    </div>
  );
}

/** One line with the error of the last action. */
export function InlineProblem({ error }: { error: unknown }) {
  const text = useProblemText();
  return error ? (
    <p role="alert" className={styles.inline}>
      {text(error)}
    </p>
  ) : null;
}

/** Placeholders for content that is being loaded: `heights` in rem. */
export function Skeleton({ heights }: { heights: number[] }) {
  const { t } = useTranslation();
  return (
    <div className={styles.skeleton} role="status">
      <span className="quiet">{t("common.loading")}</span>
      {heights.map((height, index) => (
        <div key={index} className={styles.bone} style={{ "--height": `${height}rem` } as CSSProperties} />
      ))}
    </div>
  );
}
