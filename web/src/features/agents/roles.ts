import { useTranslation } from "react-i18next";
import type uk from "../../i18n/uk";

type KnownRole = keyof (typeof uk)["roles"];

/** A role in the language of the pages; one that they have no word for stays as it is. */
export function useRoleName(): (role: string) => string {
  const { t, i18n } = useTranslation();
  return (role) => (i18n.exists(`roles.${role}`) ? t(`roles.${role as KnownRole}`) : role);
}
