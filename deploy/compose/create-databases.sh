#!/bin/sh
# Creates a database and a role for Synapse and for the city. PostgreSQL's image runs it once, when its volume is empty.
set -eu
for name in synapse daarion; do
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres \
        --set=name="$name" --set=password="$(cat "/run/postgres-secrets/$name")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
SQL
done
