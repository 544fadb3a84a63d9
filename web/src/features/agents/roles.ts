import { useTranslation } from "../../lib/i18n";

/** A role in the language of the pages; one that they have no word for stays as it is. */
export function useRoleName(): (role: string) => string {
  const { t, has } = useTranslation();
  return (role) => {
    const key = `roles.${role}`;
    return has(key) ? t(key) : role;
  };
}
