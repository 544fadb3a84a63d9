import { useEffect, useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { useTranslation } from "../../lib/i18n";
import { Button, IconButton } from "./Button";
import styles from "./Dialog.module.css";

interface Props {
  title: string;
  /** A sheet lies at the bottom of the window, where a thumb reaches it. */
  look?: "sheet";
  onClose: () => void;
  children: ReactNode;
}

/** A modal dialog. The browser keeps the focus in it and gives it back to where it was. */
export function Dialog({ title, look, onClose, children }: Props) {
  const { t } = useTranslation();
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();

  // A layout effect ends before the dialog leaves the document; a dialog that left it gives no focus back.
  useLayoutEffect(() => {
    const shown = dialog.current;
    if (shown && !shown.open) shown.showModal();
    return () => shown?.close();
  }, []);
  // After each render, as what the dialog is about may be loaded only after it opened.
  const hasFocused = useRef(false);
  useEffect(() => {
    const shown = dialog.current;
    const first = shown && firstOf(shown);
    if (!first) return;
    const isLost = [shown, document.body].includes(document.activeElement as HTMLElement);
    if (isLost || !hasFocused.current) first.focus();
    hasFocused.current = true;
  });

  return (
    // A click beside the dialog closes it for the mouse; Escape and the button are there for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={dialog}
      className={`${styles.dialog} ${look ? styles[look] : ""}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className={styles.head} data-head>
        <h2 id={titleId}>{title}</h2>
        <IconButton icon="close" label={t("common.close")} onClick={onClose} />
      </div>
      {children}
    </dialog>
  );
}

/** The first field, else the first button of what the dialog is about: not the one that closes it. */
function firstOf(dialog: HTMLElement): HTMLElement | null {
  const isAbout = (tags: string) => dialog.querySelector<HTMLElement>(`:scope > :not([data-head]) :is(${tags})`);
  return isAbout("input, textarea, select") ?? isAbout("button, a");
}

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}

export function ConfirmDialog({ title, text, action, onConfirm, onClose }: ConfirmProps) {
  const { t } = useTranslation();
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{text}</p>
      <DialogActions>
        <Button onClick={onClose}>{t("common.cancel")}</Button>
        <Button
          variant="danger"
          onClick={() => {
            onConfirm();
            onClose();
          }}
        >
          {action}
        </Button>
      </DialogActions>
    </Dialog>
  );
}

export function DialogActions({ children }: { children: ReactNode }) {
  return <div className={styles.actions}>{children}</div>;
}
