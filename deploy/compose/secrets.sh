#!/usr/bin/env bash
# Makes the secrets that compose.yaml names, once, in the folder that is given (default: secrets/ beside this file).
# What is there is never replaced: data that was written under a key opens with no other.
set -euo pipefail
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder/certificates"
cd "$folder"

make_once() { # FILE COMMAND…: what the command prints becomes the file, if there is none
  local file=$1
  shift
  if [ ! -e "$file" ]; then
    "$@" > "$file.new"
    mv "$file.new" "$file"
  fi
}
random_hex() { openssl rand -hex 32; }
operator_key() { printf 'ivk_%s\n' "$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n')"; }
database_url() { printf 'postgres://invigil:%s@postgres/invigil?sslmode=disable\n' "$(cat postgres.password)"; }
store_keys() {
  printf '{"identities": [{"name": "invigil", "credentials": [{"accessKey": "invigil", "secretKey": "%s"}],\n' \
    "$(cat s3.secret)"
  printf '  "actions": ["Read:invigil", "Write:invigil", "List:invigil"]}]}\n'
}
certificate() {
  local key
  key=$(openssl ecparam -name prime256v1 -genkey -noout)
  openssl req -x509 -new -key /dev/stdin -days 365 -subj /CN=localhost -addext subjectAltName=DNS:localhost <<< "$key"
  printf '%s\n' "$key"
}

make_once master.key random_hex
make_once identity.pepper random_hex
make_once operator.key operator_key
make_once postgres.password random_hex
make_once database.url database_url
make_once s3.secret random_hex
make_once s3.json store_keys
make_once certificates/localhost.pem certificate
# Containers read them as users of their own; the folder above keeps everybody else out.
chmod 644 -- *.key *.pepper *.password *.url *.secret *.json certificates/*.pem
chmod 755 certificates
echo "secrets are in $(pwd)"
