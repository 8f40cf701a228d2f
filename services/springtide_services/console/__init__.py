"""The console: pages for the browser, live, and the process that serves them beside the gateway."""
