#!/bin/sh
# Redirects a host's or a container's TCP traffic through its sidecar, with App Mesh's own variables, so that applications
# need no change. Run as root in the network namespace of the application, before the application starts:
#
#   redirect.sh up      (or without a word) installs the rules; running it again changes nothing
#   redirect.sh down    removes them
#   redirect.sh show    prints what passes by the sidecar
#
#   APPMESH_ENVOY_INGRESS_PORT   where the sidecar takes calls to the application           [15000]
#   APPMESH_ENVOY_EGRESS_PORT    where the sidecar takes calls of the application           [15001]
#   APPMESH_APP_PORTS            ports of the application, with commas; none: no inbound redirect
#   APPMESH_IGNORE_UID           user that the sidecar runs as; its own connections pass by [1337]
#   APPMESH_IGNORE_GID           the same by group; either is enough
#   APPMESH_EGRESS_IGNORED_IP    addresses or networks that are not redirected, with commas [169.254.169.254,169.254.170.2]
#   APPMESH_EGRESS_IGNORED_PORTS ports that are not redirected, with commas                 [22]
#   APPMESH_ENABLE_IPV6          1 also redirects IPv6                                      [0]
#
# The sidecar must listen where redirected connections arrive: --inbound 0.0.0.0:15000 (with IPv6 [::]:15000), and
# --outbound 127.0.0.1:15001 (with IPv6 [::]:15001).
set -eu

INGRESS_PORT=${APPMESH_ENVOY_INGRESS_PORT:-15000}
EGRESS_PORT=${APPMESH_ENVOY_EGRESS_PORT:-15001}
APP_PORTS=${APPMESH_APP_PORTS:-}
IGNORE_UID=${APPMESH_IGNORE_UID-1337}
IGNORE_GID=${APPMESH_IGNORE_GID:-}
IGNORED_IP=${APPMESH_EGRESS_IGNORED_IP-169.254.169.254,169.254.170.2}
IGNORED_PORTS=${APPMESH_EGRESS_IGNORED_PORTS-22}
IPV6=${APPMESH_ENABLE_IPV6:-0}

fail() {
    echo "redirect.sh: $1" >&2
    exit "${2:-1}"
}

# Only what iptables shall see as one word passes: numbers, commas, addresses.
for value in "$INGRESS_PORT" "$EGRESS_PORT" "$IGNORE_UID" "$IGNORE_GID" "$APP_PORTS" "$IGNORED_PORTS"; do
    case $value in *[!0-9,]*) fail "\"$value\" is no number and no list of numbers with commas" 2 ;; esac
done
case $IGNORED_IP in *[!0-9a-fA-F.:,/]*) fail "\"$IGNORED_IP\" is no list of addresses with commas" 2 ;; esac
if [ -z "$IGNORE_UID$IGNORE_GID" ]; then
    fail "APPMESH_IGNORE_UID or APPMESH_IGNORE_GID must say who the sidecar is, or its own calls would come back to it" 2
fi

# The words of a list with commas.
words() {
    echo "$1" | tr ',' ' '
}

# Whether an address belongs to a family.
of_family() {
    case $1 in *:*) [ "$2" = ip6tables ] ;; *) [ "$2" = iptables ] ;; esac
}

# Everything of ours in one family's nat table is in two chains, so that it can be taken out again.
down() {
    "$1" -w -t nat -D PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j TRIPLINE_INGRESS 2>/dev/null || true
    "$1" -w -t nat -D OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j TRIPLINE_EGRESS 2>/dev/null || true
    for chain in TRIPLINE_INGRESS TRIPLINE_EGRESS; do
        "$1" -w -t nat -F "$chain" 2>/dev/null || true
        "$1" -w -t nat -X "$chain" 2>/dev/null || true
    done
}

up() {
    down "$1"
    "$1" -w -t nat -N TRIPLINE_INGRESS
    "$1" -w -t nat -N TRIPLINE_EGRESS
    for port in $(words "$APP_PORTS"); do
        "$1" -w -t nat -A TRIPLINE_INGRESS -p tcp --dport "$port" -j REDIRECT --to-ports "$INGRESS_PORT"
    done
    if [ -n "$IGNORE_UID" ]; then
        "$1" -w -t nat -A TRIPLINE_EGRESS -m owner --uid-owner "$IGNORE_UID" -j RETURN
    fi
    if [ -n "$IGNORE_GID" ]; then
        "$1" -w -t nat -A TRIPLINE_EGRESS -m owner --gid-owner "$IGNORE_GID" -j RETURN
    fi
    for port in $(words "$IGNORED_PORTS"); do
        "$1" -w -t nat -A TRIPLINE_EGRESS -p tcp --dport "$port" -j RETURN
    done
    for address in $(words "$IGNORED_IP"); do
        if of_family "$address" "$1"; then
            "$1" -w -t nat -A TRIPLINE_EGRESS -d "$address" -j RETURN
        fi
    done
    "$1" -w -t nat -A TRIPLINE_EGRESS -p tcp -j REDIRECT --to-ports "$EGRESS_PORT"
    # What comes from this machine itself and what goes to it is not the mesh's.
    "$1" -w -t nat -A PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j TRIPLINE_INGRESS
    "$1" -w -t nat -A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j TRIPLINE_EGRESS
}

show() {
    echo "inbound through the sidecar: ports ${APP_PORTS:-none}; every other port passes by it"
    echo "outbound past the sidecar: ports ${IGNORED_PORTS:-none}; addresses ${IGNORED_IP:-none}; user ${IGNORE_UID:-none}; group ${IGNORE_GID:-none}"
    [ "$IPV6" = 1 ] || echo "IPv6 passes by the sidecar; APPMESH_ENABLE_IPV6=1 redirects it, too"
}

TABLES=iptables
[ "$IPV6" != 1 ] || TABLES="iptables ip6tables"
for table in $TABLES; do
    command -v "$table" >/dev/null || fail "$table is not installed"
done
case ${1:-up} in
up)
    for table in $TABLES; do up "$table"; done
    show
    ;;
down) for table in $TABLES; do down "$table"; done ;;
show) show ;;
*) fail "expected up, down or show, got \"$1\"" 2 ;;
esac
