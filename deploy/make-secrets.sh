#!/usr/bin/env bash
# Makes what a server must have before other machines may reach it: a certificate authority, the server's certificate, and
# an empty file of tokens. For trying it out and for small set-ups; elsewhere certificates come from your own authority.
# Use: make-secrets.sh FOLDER NAME...   Names: those by which clients call the server, such as recommender.example.org.
set -euo pipefail
folder=${1:?a folder}
shift
[ $# -gt 0 ] || { echo "make-secrets.sh: wanted at least one name of the server" >&2; exit 2; }
names=$(printf 'DNS:%s,' "$@" localhost)IP:127.0.0.1

# Only you may look into the folder. What the server reads lies one below, which a container may see, and cannot leave.
mkdir -p "$folder/server"
chmod 700 "$folder"
if [ ! -e "$folder/ca.key" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=Springtide' \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' \
        -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=Springtide server' \
    -keyout "$folder/new.key" -out "$folder/new.csr" 2>/dev/null
openssl x509 -req -in "$folder/new.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 90 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") -out "$folder/new.pem" 2>/dev/null
rm "$folder/new.csr"
chmod 644 "$folder/new.key" "$folder/new.pem"
mv "$folder/new.key" "$folder/server/server.key"
mv "$folder/new.pem" "$folder/server/server.pem"
cp "$folder/ca.pem" "$folder/server/ca.pem"  # For the console, which asks the server as a client does.
touch "$folder/server/tokens"
chmod 644 "$folder/server/tokens" "$folder/server/ca.pem"
echo "clients trust $folder/ca.pem; the server reads $folder/server (run this again before 90 days are over)"
