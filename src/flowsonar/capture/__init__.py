"""Where packets come from: live interfaces and capture files, as blocks of frames; and the way back into a file."""
