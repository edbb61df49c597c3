// Package emulatortest tests the Event Hubs emulator of the root module with azeventhubs' clients, on which the root
// module does not depend.
package emulatortest
