"""The Hugging Face Hub: folders fetched at a commit, checked, and pushed in one.

`names` says what a repository is called, `listing` which of its files are wanted and when a file is the right one,
`cache` where they lie; `patience` asks the Hub, again where that helps, and `faults` says what went wrong; `download`
and `upload` do the work. huggingface_hub is imported when it is needed; torch never is.
"""
