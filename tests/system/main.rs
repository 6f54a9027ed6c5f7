//! System tests: the real program against the real Hamilton UI, an independent OTLP receiver and a real browser.
