import { useEffect, useEffectEvent, useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { useOverlay } from "../../hooks/useOverlay";
import { useTranslation } from "../../lib/i18n";
import { Button, IconButton } from "./Button";
import styles from "./Dialog.module.css";

interface Props {
  title: string;
  /** A sheet is at the bottom of the window, where a thumb reaches it. */
  look?: "sheet";
  onClose: () => void;
  children: ReactNode;
}

/** A modal dialog. The browser keeps the focus in it, and returns the focus when it closes. */
export function Dialog({ title, look, onClose, children }: Props) {
  const { t } = useTranslation();
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useOverlay(onClose);

  // A layout effect is cleaned up before the dialog leaves the document; a dialog that has left it does not return the focus.
  useLayoutEffect(() => {
    const shown = dialog.current;
    if (shown && !shown.open) shown.showModal();
    return () => shown?.close();
  }, []);
  const hasFocused = useRef(false);
  const onContent = useEffectEvent(() => {
    const shown = dialog.current;
    const first = shown && firstOf(shown);
    if (!first) return;
    const isLost = [shown, document.body].includes(document.activeElement as HTMLElement);
    if (isLost || !hasFocused.current) first.focus();
    hasFocused.current = true;
  });
  useEffect(() => onContent());
  useEffect(() => {
    const shown = dialog.current;
    if (!shown) return undefined;
    // The content may be loaded after the dialog opened, and then renders without the dialog.
    const content = new MutationObserver(() => onContent());
    content.observe(shown, { childList: true, subtree: true });
    return () => content.disconnect();
  }, []);

  return (
    // A click on the backdrop closes the dialog with a mouse; Escape and the button work for everybody.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={dialog}
      className={`${styles.dialog} ${look ? styles[look] : ""}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        // React passes the event of a dialog inside this one on to this one.
        if (event.target !== dialog.current) return;
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

/** The first visible field of the content, else its first button; the button that closes the dialog is not part of the content. */
function firstOf(dialog: HTMLElement): HTMLElement | null {
  const isAbout = (tags: string) => dialog.querySelector<HTMLElement>(`:scope > :not([data-head]) :is(${tags})`);
  return isAbout("input:not([hidden]), textarea, select") ?? isAbout("button, a");
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
