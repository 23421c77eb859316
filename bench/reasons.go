// SPDX-License-Identifier: MIT

//go:build linux

package main

import "fmt"

// Why what is asked is missed, and what was tried. The figures are those of the run.

func shortPlan(r *results) string {
	walk, _ := r.find("find", func(m Measure) bool {
		return m.Name == theWalk && m.Processes == usualHost && m.Servers == usualServers
	})
	return fmt.Sprintf("The walk of this benchmark was made lean and takes %.3g ms; of 465 ms that it took before, the plan had a "+
		"thirtieth. And each look has another goroutine read the memory of the process, which can be left behind when the process "+
		"has it held. Tried: the same in one goroutine, in turns, which took 8 to 20 %% less (medians of three runs), and could be "+
		"held up by any user for ever.", walk.Millis)
}

func shortFlat(r *results) string {
	return fmt.Sprintf("In the order of the numbers it takes %.3g ms. The map that it reads has no entry for the other processes; it is "+
		"read two hundred times a turn, and in some turns the host takes longer for anything. Tried: twenty times a turn, which gave "+
		"1.1 in one run, and 1.27 in another, in which 20,000 took the longest.", r.ofTracker())
}

func shortScan(r *results) string {
	scan, _ := r.find("find", func(m Measure) bool {
		return m.Name == ourScan && m.Processes == usualHost && m.Servers == usualServers
	})
	return fmt.Sprintf("A process of its own has all command lines to read, each an open, a read and a close: the scan, which does that "+
		"on all cores while the kernel still lists, takes %.3g ms. The walk looks at the image of most processes only, which is one "+
		"call; but it is the arguments that make a server. What else `trigger` takes is its start, and the servers that it verifies. "+
		"Tried: readers that keep to their threads, which made the scan a tenth faster.", scan.Millis)
}

func shortTrigger(r *results) string {
	load, _ := r.find("start", func(m Measure) bool { return m.Name == loading })
	scan, _ := r.find("start", func(m Measure) bool { return m.Name == "trigger --source proc" })
	return fmt.Sprintf("It scans, on all cores, while the programs are loaded; loading alone takes %.3g ms (the kernel's types are "+
		"read for the relocations, the verifier, the maps) beside the %.3g ms of the trigger with the scan. Without the programs it "+
		"would be as fast as that, but blind to the signals of the servers' own trigger, which are sent at the same moment. An iterator "+
		"over the tasks could read the arguments in the kernel, but bpf_copy_from_user_task waits for memory that is mapped from "+
		"a file system which never answers (access_process_vm without FOLL_ANON: kernel/bpf/helpers.c and mm/memory.c, Linux "+
		"6.12), and looking at the mapping first leaves a moment for another to take its place: any user could hold up root's "+
		"`trigger` for ever. /proc does not wait. It was not built.", load.Millis, scan.Millis)
}

func shortExec(*results) string {
	return "Reading the arguments is the cost: the first touch of memory in an address space that has just come into being. " +
		"Tried without gain: a read of fixed length onto the stack, a hash of the last component, and two forms without the " +
		"buffer of each processor. An exec with fewer bytes than a server's name and argument have is not read."
}

func shortMemory(r *results) string {
	files, _ := cost(ofFiles, "MiB")(r)
	return fmt.Sprintf("%.3g MiB of it are pages of files, above all the program's own text, which the kernel can drop.", files.value)
}

func shortWakeUps(*results) string {
	return "What else has it run are timers of the Go runtime: it collects garbage every two minutes whether or not there is any, and " +
		"gives memory back. The audits themselves look for what the kernel does not tell of: a file on a network file system, a mount " +
		"on top of it."
}
