# SPDX-License-Identifier: MIT
# The Makefile of the tarball. Both targets keep /etc/default/ebpf-upgrader, /etc/ebpf-upgrader, the history and an operator's pause.

PREFIX  ?= /usr/local
DESTDIR ?=
FILES   := $(shell find bin lib share -type f)
live    := $(if $(DESTDIR),,$(wildcard /run/systemd/system))

.PHONY: install uninstall
install: ## Install below PREFIX (/usr/local); then: systemctl enable --now ebpf-upgrader
	@for f in $(FILES); do \
		mode=644; test $$f = bin/ebpf-upgrader && mode=755; \
		install -D -m $$mode $$f $(DESTDIR)$(PREFIX)/$$f || exit 1; \
	done
	@sed -i 's,^\(Exec[A-Za-z]*\)=/usr/bin/,\1=$(PREFIX)/bin/,' $(DESTDIR)$(PREFIX)/lib/systemd/system/ebpf-upgrader.service
	@test -e $(DESTDIR)/etc/default/ebpf-upgrader || \
		install -D -m 644 etc/default/ebpf-upgrader $(DESTDIR)/etc/default/ebpf-upgrader
	@test -e $(DESTDIR)/etc/ebpf-upgrader/config.toml || \
		install -D -m 644 etc/ebpf-upgrader/config.toml $(DESTDIR)/etc/ebpf-upgrader/config.toml
	@$(if $(live),systemd-sysusers $(PREFIX)/lib/sysusers.d/ebpf-upgrader.conf && systemctl daemon-reload && systemctl try-restart ebpf-upgrader)
	@echo "installed below $(DESTDIR)$(PREFIX); start it: systemctl enable --now ebpf-upgrader"

uninstall: ## Stop the service and remove what install has installed
	@$(if $(live),systemctl disable --now ebpf-upgrader || true)
	@cd $(DESTDIR)$(PREFIX) && rm -f $(FILES)
	@rm -rf $(DESTDIR)$(PREFIX)/share/doc/ebpf-upgrader $(DESTDIR)$(PREFIX)/share/ebpf-upgrader
	@$(if $(live),systemctl daemon-reload)
	@echo "removed; left are /etc/default/ebpf-upgrader, /etc/ebpf-upgrader, /var/lib/ebpf-upgrader and the group ebpf-upgrader"
