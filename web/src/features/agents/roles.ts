import { useTranslation } from "../../lib/i18n";

/** Translate a role; a role without a translation is returned unchanged. */
export function useRoleName(): (role: string) => string {
  const { t, has } = useTranslation();
  return (role) => {
    const key = `roles.${role}`;
    return has(key) ? t(key) : role;
  };
}
