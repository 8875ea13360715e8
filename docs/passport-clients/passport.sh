#!/bin/sh
# Prints the header lines that make a test request believed, with nothing but openssl, for curl -H @-
#
#   sh passport.sh METHOD URL TENANT KEY_ID KEY_FILE [BODY_FILE] | curl -H @- --data-binary @BODY_FILE URL
#
# openssl takes the key as an argument, which other users of this machine can see while it runs:
# where there are others, use `shadowproxy passport mint`.
set -eu
method=$1 url=$2 tenant=$3 key_id=$4 key=$(cat "$5") body=${6:-}

scheme=${url%%://*}
rest=${url#*://}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
case $target in /*) ;; *) target=/$target ;; esac
path=${target%%\?*}
query=${target#"$path"}
authority=$(printf %s "$authority" | tr '[:upper:]' '[:lower:]')
case $scheme in http) authority=${authority%:80} ;; https) authority=${authority%:443} ;; esac

names='"@method" "@authority" "@path" "@query" "x-test-traffic"'
lines=$(printf '"@method": %s\n"@authority": %s\n"@path": %s\n"@query": %s\n"x-test-traffic": %s' \
  "$method" "$authority" "$path" "?${query#\?}" "$tenant")
printf 'X-Test-Traffic: %s\n' "$tenant"
if [ -n "$body" ]; then
  digest="sha-256=:$(openssl dgst -sha256 -binary "$body" | openssl base64 -A):"
  names="$names \"content-digest\""
  lines=$(printf '%s\n"content-digest": %s' "$lines" "$digest")
  printf 'Content-Digest: %s\n' "$digest"
fi
now=$(date +%s)
nonce=$(openssl rand -hex 16)
signed="($names);created=$now;expires=$((now + 60));nonce=\"$nonce\";keyid=\"$key_id\";tag=\"shadowproxy\""
signature=$(printf '%s\n"@signature-params": %s' "$lines" "$signed" | openssl dgst -sha256 -hmac "$key" -binary | openssl base64 -A)
printf 'Signature-Input: test=%s\nSignature: test=:%s:\n' "$signed" "$signature"
