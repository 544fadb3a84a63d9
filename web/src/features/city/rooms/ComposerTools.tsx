import { useId, type ReactNode } from "react";
import { Button, IconButton } from "../../../components/ui/Button";
import { Icon, type IconName } from "../../../components/ui/Icon";
import { Menu } from "../../../components/ui/Menu";
import { useMediaQuery } from "../../../hooks/useMediaQuery";
import { useTranslation } from "../../../lib/i18n";
import { AllEmojis } from "../../emoji/parts";
import styles from "./CityRoomInput.module.css";

interface Tool {
  icon: IconName;
  label: string;
  isPressed?: boolean;
  run: () => void;
}

interface Props {
  /** Whether a message is replied to or edited: then it cannot be a poll. */
  isAbout: boolean;
  /** Whether the field is too narrow for the buttons, as in the thread panel, however wide the screen is. */
  isNarrow: boolean;
  /** Whether the preview is shown; null if there is nothing to preview. */
  isPreview: boolean | null;
  onFiles: (files: FileList) => void;
  onPoll: () => void;
  onPreview: () => void;
  /** Absent if this browser cannot record sound. */
  onRecord?: (() => void) | undefined;
}

/** The buttons beside the text field; a menu where a row of buttons would leave too little of the field. */
export function ComposerTools({ isAbout, isNarrow, isPreview, onFiles, onPoll, onPreview, onRecord }: Props) {
  const { t } = useTranslation();
  const isWide = useMediaQuery("(width >= 600px)") && !isNarrow;
  const pickerId = useId();
  const tools: Tool[] = [{ icon: "clip", label: t("room.attach"), run: () => document.getElementById(pickerId)?.click() }];
  if (!isAbout) tools.push({ icon: "poll", label: t("poll.start"), run: onPoll });
  if (onRecord) tools.push({ icon: "mic", label: t("voice.record"), run: onRecord });
  if (isPreview !== null) tools.push({ icon: "eye", label: t("preview.toggle"), isPressed: isPreview, run: onPreview });
  return (
    <>
      <input
        id={pickerId}
        type="file"
        multiple
        hidden
        onChange={({ target }) => {
          if (target.files) onFiles(target.files);
          target.value = "";
        }}
      />
      {isWide ? tools.map(toolButton) : <ToolMenu tools={tools} />}
    </>
  );
}

function toolButton({ icon, label, isPressed, run }: Tool): ReactNode {
  return <IconButton key={icon} icon={icon} label={label} aria-pressed={isPressed} onClick={run} />;
}

function ToolMenu({ tools }: { tools: readonly Tool[] }) {
  const { t } = useTranslation();
  return (
    <Menu label={t("room.add")} button={(open) => <IconButton icon="plus" label={t("room.add")} {...open} />}>
      {(close) => (
        <ul className={styles.tools}>
          {tools.map(({ icon, label, isPressed, run }) => (
            <li key={icon}>
              <Button
                variant="bare"
                aria-pressed={isPressed}
                onClick={() => {
                  close();
                  run();
                }}
              >
                <Icon name={icon} /> {label}
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Menu>
  );
}

/** A button that inserts emojis into the text. Keyboards of touch screens have their own. */
export function EmojiButton({ onChoose }: { onChoose: (emoji: string) => void }) {
  const { t } = useTranslation();
  const isTouch = useMediaQuery("(pointer: coarse)");
  if (isTouch) return null;
  return (
    <Menu label={t("emoji.choose")} button={(open) => <IconButton icon="smile" label={t("emoji.choose")} {...open} />}>
      {(close) => (
        <AllEmojis
          onChoose={(emoji) => {
            close();
            onChoose(emoji);
          }}
        />
      )}
    </Menu>
  );
}
