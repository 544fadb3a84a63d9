import { useEffect, useLayoutEffect, useRef, type KeyboardEvent } from "react";
import type { Media } from "../../api/types";
import { buttonClass, IconButton } from "../../components/ui/Button";
import { Icon } from "../../components/ui/Icon";
import { Name } from "../../components/ui/Name";
import { useObjectUrl } from "../../hooks/useObjectUrl";
import { useMediaUrl } from "../../hooks/useMediaUrl";
import { useOverlay } from "../../hooks/useOverlay";
import { useTranslation } from "../../lib/i18n";
import { plainName } from "../../lib/names";
import { usePictureViewer } from "../../stores/pictureViewer";
import styles from "./PictureViewer.module.css";
import { useZoom } from "./useZoom";
import { WHOLE } from "./zoom";

/** A picture in the size of the window, with zoom and download; arrow keys lead to the other pictures of the conversation. */
export default function PictureViewer() {
  const { pictures, index, close } = usePictureViewer();
  const dialog = useRef<HTMLDialogElement>(null);
  useOverlay(close);
  const shown = pictures[index];
  const localUrl = useObjectUrl(shown?.file ?? null);
  const url = shown?.file ? localUrl : shown?.url;
  const { t } = useTranslation();
  // A layout effect is cleaned up before the dialog leaves the document; a dialog that has left it does not return the focus.
  useLayoutEffect(() => {
    const opened = dialog.current;
    opened?.showModal();
    return () => opened?.close();
  }, []);
  return (
    <dialog ref={dialog} className={styles.viewer} aria-label={t("viewer.label")} onClose={close}>
      {shown && url && <Stage media={shown} url={url} />}
    </dialog>
  );
}

function Stage({ media, url }: { media: Media; url: string }) {
  const { t } = useTranslation();
  const { pictures, index, show, close } = usePictureViewer();
  const { src, onError } = useMediaUrl(url, close);
  const closing = useRef<HTMLButtonElement>(null);
  const hasSeveral = pictures.length > 1;
  const go = (step: 1 | -1) => {
    const next = index + step;
    if (next >= 0 && next < pictures.length) show(next);
  };
  const { zoom, reset, canEnlarge, enlarge, shrink, picture, stage } = useZoom(url, go);
  const name = plainName(media.filename);
  // The dialog gave the focus to its first button, which does nothing while the whole picture is shown.
  useEffect(() => closing.current?.focus(), []);
  const onKeyDown = (event: KeyboardEvent) => {
    const act = {
      ArrowRight: () => go(1),
      ArrowLeft: () => go(-1),
      "+": enlarge,
      "=": enlarge,
      "-": shrink,
      "0": reset,
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  };
  const onStageClick = (event: { target: EventTarget; currentTarget: EventTarget }) => {
    if (event.target === event.currentTarget && zoom === WHOLE) close();
  };
  const isLarger = zoom.scale > 1;
  return (
    // The keys of the whole viewer; each of them has a button, too.
    // eslint-disable-next-line jsx-a11y/no-static-element-interactions
    <div className={styles.frame} onKeyDown={onKeyDown}>
      <div className={styles.head}>
        <p>
          <Name>{name}</Name>
          {hasSeveral && <small role="status">{t("viewer.position", { number: index + 1, total: pictures.length })}</small>}
        </p>
        <IconButton icon="minus" label={t("viewer.shrink")} aria-disabled={!isLarger} onClick={shrink} />
        <IconButton icon="plus" label={t("viewer.enlarge")} aria-disabled={!canEnlarge} onClick={enlarge} />
        <a className={buttonClass("bare", styles.download)} href={src} download={name} aria-label={t("room.download", { name })}>
          <Icon name="download" />
        </a>
        <IconButton ref={closing} icon="close" label={t("common.close")} onClick={close} />
      </div>
      {/* A click beside the picture closes the viewer with a mouse. */}
      {/* eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-static-element-interactions */}
      <div className={`${styles.stage} ${isLarger ? styles.larger : ""}`} onClick={onStageClick} {...stage}>
        <img
          key={url}
          ref={picture}
          src={src}
          alt={t("room.image", { name })}
          draggable={false}
          onError={onError}
          style={{ transform: `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})` }}
        />
        {hasSeveral && (
          <>
            <IconButton
              icon="back"
              label={t("viewer.previous")}
              className={styles.previous ?? ""}
              aria-disabled={index === 0}
              onClick={() => go(-1)}
            />
            <IconButton
              icon="forward"
              label={t("viewer.next")}
              className={styles.next ?? ""}
              aria-disabled={index === pictures.length - 1}
              onClick={() => go(1)}
            />
          </>
        )}
      </div>
    </div>
  );
}
