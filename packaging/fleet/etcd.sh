#!/bin/sh
# SPDX-License-Identifier: MIT
# Creates the record of a fleet in etcd, and a user for the hosts: etcd.sh PREFIX USER PASSWORD POLICY-FILE
# ETCDCTL_ENDPOINTS and the other variables of etcdctl say which etcd. Users count once auth is enabled: etcdctl auth enable.
# A host reads both keys and writes the record. It can not pause, unpause, promote or raise slots.
set -eu
prefix=$1 user=$2 password=$3 policy=$4
etcdctl put "$prefix/policy" <"$policy"
etcdctl put "$prefix/state" '{}'
etcdctl role add "$user"
etcdctl role grant-permission "$user" read "$prefix/" "${prefix}0"
etcdctl role grant-permission "$user" write "$prefix/state"
etcdctl user add "$user:$password"
etcdctl user grant-role "$user" "$user"
