// SPDX-License-Identifier: MIT

//go:build linux

package main

import "fmt"

// Each function says why a goal is missed and what was tried. The figures are those of the run.

func shortPlan(r *results) string {
	walk, _ := r.find("find", func(m Measure) bool {
		return m.Name == theWalk && m.Processes == usualHost && m.Servers == usualServers
	})
	return fmt.Sprintf("The walk of this benchmark was made lean and takes %.3g ms. Before, it took 465 ms, and the plan a thirtieth "+
		"of that. Each inspection has another goroutine read the memory of the process; it is abandoned when that memory is held. "+
		"Tried: the same in one goroutine, in turns. It took 8 to 20 %% less (medians of three runs), and any user could block it "+
		"for ever.", walk.Millis)
}

func shortFlat(r *results) string {
	return fmt.Sprintf("In the order of the numbers it takes %.3g ms. The map that it reads has no entry for the other processes. It is "+
		"read two hundred times a turn, and in some turns everything on the host takes longer. Tried: twenty times a turn. That gave "+
		"1.1 in one run, and 1.27 in another, where 20,000 took the longest.", r.trackerTimes())
}

func shortScan(r *results) string {
	scan, _ := r.find("find", func(m Measure) bool {
		return m.Name == ourScan && m.Processes == usualHost && m.Servers == usualServers
	})
	return fmt.Sprintf("A new process has to read all command lines, each with an open, a read and a close. The scan does that on all "+
		"cores while the kernel still lists, and takes %.3g ms. The walk reads only the image of most processes, which is one call. "+
		"But the arguments make a server. The rest of the time of `trigger` is its start and the verification of the servers. "+
		"Tried: readers that keep to their threads. That made the scan a tenth faster.", scan.Millis)
}

func shortTrigger(r *results) string {
	load, _ := r.find("start", func(m Measure) bool { return m.Name == loading })
	scan, _ := r.find("start", func(m Measure) bool { return m.Name == "trigger --source proc" })
	return fmt.Sprintf("It scans on all cores while the programs are loaded. Loading alone takes %.3g ms (relocations against the "+
		"kernel's types, the verifier, the maps), beside the %.3g ms of the trigger with the scan. Without the programs it would be as "+
		"fast as that, but blind to the signals of the servers' own trigger, which are sent at the same moment. Not built: an iterator "+
		"over the tasks that reads the arguments in the kernel. bpf_copy_from_user_task waits for memory that is mapped from "+
		"a file system which never answers (access_process_vm without FOLL_ANON: kernel/bpf/helpers.c and mm/memory.c, Linux "+
		"6.12). A check of the mapping before leaves a moment in which it can be replaced. So any user could block root's `trigger` "+
		"for ever. /proc does not wait.", load.Millis, scan.Millis)
}

func shortExec(*results) string {
	return "The cost is the read of the arguments: the first touch of memory in a new address space. Tried without gain: a read " +
		"of fixed length onto the stack, a hash of the last component, and two forms without the per-CPU buffer. The arguments of " +
		"an exec are not read if they have fewer bytes than a server's name and argument."
}

func shortMemory(r *results) string {
	files, _ := cost(ofFiles, "MiB")(r)
	return fmt.Sprintf("%.3g MiB of it are pages of files, above all the program's own text, which the kernel can drop. Most of the "+
		"heap are the events of the last rollout, five for each server.", files.value)
}

func shortStorm(*results) string {
	return "The accounts above have what the service and its programs ran for. The difference also has what they cost other programs, and " +
		"what else changes from one storm to the next: on 2026-11-29 it was 0.65 %, half of the turns 0.13 to 1.53."
}

func shortWakeUps(*results) string {
	return "The other wake-ups are timers of the Go runtime: it collects garbage every two minutes in any case, and returns " +
		"memory. The audits themselves look for changes that the kernel does not report: a file on a network file system, a mount " +
		"on top of it."
}
