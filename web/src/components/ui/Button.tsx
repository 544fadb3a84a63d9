import type { ButtonHTMLAttributes, Ref } from "react";
import { Link, type LinkProps } from "react-router";
import styles from "./Button.module.css";
import { Icon, type IconName } from "./Icon";

type Variant = "main" | "plain" | "danger" | "bare";

export function buttonClass(look: Variant, extra = ""): string {
  return `${styles.button} ${styles[look]} ${extra}`;
}

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { variant?: Variant; ref?: Ref<HTMLButtonElement> };

export function Button({ variant: look = "plain", type = "button", className = "", ...rest }: ButtonProps) {
  return <button type={type} className={buttonClass(look, className)} {...rest} />;
}

/** A button with an icon only; `label` is its accessible name. */
export function IconButton({
  icon,
  label,
  className = "",
  size,
  ...rest
}: ButtonProps & { icon: IconName; label: string; size?: number }) {
  return (
    <Button variant="bare" aria-label={label} title={label} className={`${styles.icon} ${className}`} {...rest}>
      <Icon name={icon} {...(size ? { size } : {})} />
    </Button>
  );
}

export function ButtonLink({ look = "plain", className = "", ...rest }: LinkProps & { look?: Variant }) {
  return <Link className={buttonClass(look, className)} {...rest} />;
}
